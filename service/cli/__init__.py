"""The command `gapsweep`."""

from __future__ import annotations

import sys

from service.base.collection import collect_rarely
from service.base.disk import is_disk_full
from service.base.errors import GapsweepError
from service.base.extras import describe_missing
from service.base.redaction import redact
from service.base.streams import open_closed_descriptors, safe_streams
from service.cli import (
    audit_log,
    backing_up,
    deleting,
    local,
    remote,
    replay,
    serving,
    serving_mlflow,
    tokens,
    user_show,
    users,
)
from service.cli.app import INTERRUPTED, app
from service.report.console import open_console, print_error
from service.sweep.environment import use_ray_token
from trainables.errors import TrainableError

__all__ = [
    "app",
    "audit_log",
    "backing_up",
    "deleting",
    "local",
    "main",
    "remote",
    "replay",
    "serving",
    "serving_mlflow",
    "tokens",
    "user_show",
    "users",
]


def main() -> None:
    """The command `gapsweep`: every error a sentence, never a traceback."""
    collect_rarely()
    open_closed_descriptors()
    use_ray_token()
    with safe_streams():
        _run()


def _run() -> None:
    errors = open_console(stderr=True)
    try:
        app()
    except ModuleNotFoundError as error:
        missing = describe_missing(error)
        if missing is None:
            raise
        print_error(errors, missing)
        sys.exit(2)
    except GapsweepError as error:
        print_error(errors, redact(str(error)))
        sys.exit(error.exit_code)
    except TrainableError as error:
        print_error(errors, redact(str(error)))
        sys.exit(2)
    except OSError as error:
        if not is_disk_full(error):
            raise
        print_error(errors, f"the disk is full: {error}; free some space and try again")
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(INTERRUPTED)
