"""The program that removes sweeps' runs for a server, which itself imports no MLflow.

``python -m service.tracking.remove_runs --home HOME SWEEP…`` finds MLflow and its credentials as a
sweep's driver does, and prints the id of each sweep whose runs are removed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from service.base.plain_text import say
from service.sweep.environment import get_artifact_location, get_mlflow_uri
from service.sweep.home import Home
from service.tracking.server_program import run_program


def remove_named(home: Home, sweep_ids: Sequence[str]) -> None:
    """Remove the runs of sweeps.

    Raises:
        ServerError: as :func:`remove_all`.
    """
    remove_all(get_mlflow_uri(home), get_artifact_location(home), sweep_ids)


def remove_all(uri: str | None, artifacts: str | None, sweep_ids: Sequence[str]) -> None:
    """Remove the runs of sweeps; without an MLflow there are none.

    Raises:
        ServerError: as :func:`service.tracking.run_removal.remove_runs`.
    """
    if uri is None:
        say("\n".join(sweep_ids))
        return
    from service.tracking.run_removal import remove_runs

    for sweep_id in sweep_ids:
        remove_runs(uri, artifacts, sweep_id)
        say(sweep_id)


if __name__ == "__main__":
    sys.exit(run_program(remove_named))
