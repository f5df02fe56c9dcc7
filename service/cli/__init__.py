"""The command `gapsweep`."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

from service.base.errors import GapsweepError
from service.base.extras import describe_missing
from service.base.redaction import redact
from service.base.streams import open_closed_descriptors, safe_streams
from service.cli import local, remote, serving, serving_mlflow
from service.cli.app import INTERRUPTED, app
from service.sweep.environment import use_ray_token

__all__ = ["app", "local", "main", "remote", "serving", "serving_mlflow"]


def main() -> None:
    """The command `gapsweep`: every error a sentence, never a traceback."""
    open_closed_descriptors()
    use_ray_token()
    with safe_streams():
        _run()


def _run() -> None:
    errors = Console(stderr=True, highlight=False)
    try:
        app()
    except ModuleNotFoundError as error:
        missing = describe_missing(error)
        if missing is None:
            raise
        errors.print(f"[bold red]error[/] {escape(missing)}", soft_wrap=True)
        sys.exit(2)
    except GapsweepError as error:
        errors.print(f"[bold red]error[/] {escape(redact(str(error)))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(INTERRUPTED)
