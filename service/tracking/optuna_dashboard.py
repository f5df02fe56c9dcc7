"""Starts Optuna's dashboard for the studies of a home."""

from __future__ import annotations

from service.study.journals import join_journals
from service.sweep.home import Home


def show_studies(home: Home, host: str, port: int) -> None:
    """Serve Optuna's dashboard until the process is ended."""
    from optuna_dashboard import run_server

    run_server(join_journals(lambda: [(f.sweep_id, f.journal) for f in home.sweeps()]), host, port)
