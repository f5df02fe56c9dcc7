"""Finds and ends runs that are open although the session that logged them is over.

MLflow may have been away when a session ended, a session may have been killed, and a request that
was delayed on its way may have opened a run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import mlflow
from mlflow.entities import Run

from service.study.records import TrialState
from service.tracking.experiment import search_runs
from service.tracking.run_status import ENDED, KILLED, TRIAL_STATUS
from service.tracking.run_tags import REFIT_ROLE, ROLE_TAG, SWEEP_TAG, TRIAL_TAG


def find_open_runs(
    client: mlflow.MlflowClient, experiment: str, sweep_id: str | None = None
) -> Sequence[Run]:
    """The runs of one sweep, or of all, that have not ended; refits, which run by themselves, no.

    A run may be open without running: that of a paused trial is scheduled.
    """
    conditions = [f"status != '{status}'" for status in ENDED]
    conditions += [] if sweep_id is None else [f"tags.`{SWEEP_TAG}` = '{sweep_id}'"]
    found = search_runs(client, experiment, " AND ".join(conditions))
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
            ended = TRIAL_STATUS[state] if state.has_ended else KILLED
        client.set_terminated(run.info.run_id, status=ended)
