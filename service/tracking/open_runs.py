"""Finds and ends runs that are open although the session that logged them is over.

MLflow may have been away when a session ended, a session may have been killed, and a request that
was delayed on its way may have opened a run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import mlflow
from mlflow.entities import Run

from service.study.records import TrialState
from service.tracking.run_tags import REFIT_ROLE, ROLE_TAG, RUN_STATUS, SWEEP_TAG, TRIAL_TAG

KILLED = "KILLED"
_OPEN = " AND ".join(f"status != '{ended}'" for ended in ("FINISHED", "FAILED", KILLED))


def find_runs(client: mlflow.MlflowClient, experiment: str, sweep_id: str) -> Sequence[Run]:
    """All runs of a sweep."""
    return _search(client, experiment, f"tags.`{SWEEP_TAG}` = '{sweep_id}'")


def find_open_runs(
    client: mlflow.MlflowClient, experiment: str, sweep_id: str | None = None
) -> Sequence[Run]:
    """The runs of one sweep, or of all, that have not ended; refits, which run by themselves, no.

    A run may be open without running: that of a paused trial is scheduled.
    """
    mine = "" if sweep_id is None else f" AND tags.`{SWEEP_TAG}` = '{sweep_id}'"
    found = _search(client, experiment, _OPEN + mine)
    return [run for run in found if run.data.tags.get(ROLE_TAG) != REFIT_ROLE]


def end_runs(
    client: mlflow.MlflowClient,
    runs: Iterable[Run],
    trials: Mapping[int, TrialState],
    status: str,
) -> None:
    """End runs of a sweep: a trial's by its state, or as killed, its own by ``status``."""
    for run in runs:
        number = run.data.tags.get(TRIAL_TAG)
        if number is None:
            ended = status
        else:
            state = trials.get(int(number), TrialState.RUNNING)
            ended = RUN_STATUS[state] if state.has_ended else KILLED
        client.set_terminated(run.info.run_id, status=ended)


def _search(client: mlflow.MlflowClient, experiment: str, condition: str) -> list[Run]:
    found: list[Run] = []
    token: str | None = None
    while token is None or token:
        page = client.search_runs([experiment], condition, max_results=1000, page_token=token)
        found.extend(page)
        token = page.token or ""
    return found
