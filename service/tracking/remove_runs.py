"""The program that removes sweeps' runs for a server, which itself imports no MLflow.

``python -m service.tracking.remove_runs --home HOME SWEEP…`` finds MLflow and its credentials as a
sweep's driver does, and prints the id of each sweep whose runs are removed.
"""

from __future__ import annotations

import argparse
import os
import sys

from service.base.errors import ServerError
from service.base.plain_text import say
from service.base.redaction import redact
from service.base.streams import use_safe_streams
from service.sweep.environment import get_artifact_location, get_mlflow_uri, locate_home


def main() -> int:
    """Remove what the arguments name; 1 if MLflow does not answer or does not allow it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True)
    parser.add_argument("sweeps", nargs="+")
    options = parser.parse_args()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    home = locate_home(options.home)
    try:
        remove_all(get_mlflow_uri(home), get_artifact_location(home), options.sweeps)
    except ServerError as error:
        say(redact(str(error)), to=sys.stderr)
        return 1
    return 0


def remove_all(uri: str | None, artifacts: str | None, sweep_ids: list[str]) -> None:
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
    use_safe_streams()
    sys.exit(main())
