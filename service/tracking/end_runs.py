"""The program that ends the runs of sweeps for a server, which itself imports no MLflow.

``python -m service.tracking.end_runs --home HOME SWEEP=STATE…`` finds MLflow and its credentials as
a sweep's driver does, ends every run that is open, and prints the id of each sweep that has none
any more. The states are those of the service.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from service.base.errors import GapsweepError, ServerError
from service.base.plain_text import say
from service.base.redaction import redact
from service.base.uris import find_sqlite_path
from service.study.records import TrialState
from service.sweep.environment import EXPERIMENT, get_mlflow_uri
from service.sweep.home import Home
from service.sweep.load import read_sweep
from service.sweep.lost_items import describe_error
from service.tracking.server_program import run_program

_STATUS = {"succeeded": "FINISHED", "failed": "FAILED"}


def end_named(home: Home, words: Sequence[str]) -> None:
    """End the open runs of the sweeps that words name.

    Raises:
        ServerError: as :func:`end_all`.
    """
    states = dict(word.rsplit("=", 1) for word in words)
    end_all(home, get_mlflow_uri(home), states)
    say("\n".join(states))


def end_all(home: Home, uri: str | None, states: Mapping[str, str]) -> None:
    """End the open runs of sweeps, whose states are given; without an MLflow there are none.

    Raises:
        ServerError: MLflow does not answer, or does not allow it.
    """
    path = None if uri is None else find_sqlite_path(uri)
    if uri is None or (path is not None and not path.exists()):
        return
    import mlflow
    from mlflow.exceptions import MlflowException

    from service.tracking.run_status import KILLED
    from service.tracking.run_tags import SWEEP_TAG
    from service.tracking.unended_runs import end_runs, find_open_runs

    try:
        client = mlflow.MlflowClient(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        found = [] if experiment is None else find_open_runs(client, experiment.experiment_id)
        for sweep_id, state in states.items():
            mine = [run for run in found if run.data.tags.get(SWEEP_TAG) == sweep_id]
            if mine:
                end_runs(client, mine, _read_trials(home, sweep_id), _STATUS.get(state, KILLED))
    except (MlflowException, OSError) as error:
        raise ServerError(
            f"the runs that sweeps left open in MLflow at {redact(uri)} cannot be ended: "
            f"{describe_error(error)}"
        ) from error


def _read_trials(home: Home, sweep_id: str) -> Mapping[int, TrialState]:
    """The states of a sweep's trials; none if its folder cannot be read."""
    try:
        return {trial.number: trial.state for trial in read_sweep(home.sweep(sweep_id))[2].trials}
    except (GapsweepError, OSError):
        return {}


if __name__ == "__main__":
    sys.exit(run_program(end_named))
