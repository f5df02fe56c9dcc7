"""Optuna's dashboard on the studies of every sweep of a home."""

from __future__ import annotations

from service.base.errors import InputError
from service.study.journals import joined_storage
from service.sweep.home import Home


def show_studies(home: Home, host: str, port: int) -> None:
    """Serve Optuna's dashboard until the process is ended.

    Raises:
        InputError: the dashboard is not installed.
    """
    try:
        from optuna_dashboard import run_server
    except ModuleNotFoundError:
        raise InputError("optuna_dashboard is missing; pip install 'gapsweep[dashboard]'") from None
    run_server(joined_storage(lambda: [(f.sweep_id, f.journal) for f in home.sweeps()]), host, port)
