"""Starts Optuna's dashboard for the studies of a home."""

from __future__ import annotations

from functools import partial

from service.study.journals import Opener, join_journals
from service.sweep.home import Home


def show_studies(home: Home, host: str, port: int) -> None:
    """Serve Optuna's dashboard until the process is ended."""
    from optuna_dashboard import run_server

    run_server(join_journals(lambda: list_journals(home)), host, port)


def list_journals(home: Home) -> list[tuple[str, Opener]]:
    """The studies of a home: each sweep's id, and what opens its journal."""
    return [(f.sweep_id, partial(f.open, f.journal)) for f in home.sweeps()]
