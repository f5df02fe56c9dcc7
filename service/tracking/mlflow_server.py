"""Starts MLflow's server for the sweeps of a home."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing

from service.base.errors import InputError
from service.base.plain_text import say
from service.base.ports import check_port
from service.base.redaction import redact
from service.base.uris import build_readonly_sqlite_uri
from service.sweep.environment import EXPERIMENT, get_mlflow_uri
from service.sweep.home import Home
from service.tracking.mlflow_settings import MlflowSettings


def show_runs(home: Home, host: str, port: int) -> None:
    """Serve MLflow until it is stopped; returns at once if the sweeps are on another server.

    Raises:
        InputError: nothing was logged, or the address cannot be used.
    """
    uri = get_mlflow_uri(home)
    if uri is None:
        raise InputError("GAPSWEEP_MLFLOW_URI is off: no run was logged")
    if uri.startswith(("http://", "https://")):
        say(f"the sweeps are logged to {redact(uri)}; open it in a browser")
        return
    if uri == home.mlflow_uri and not (home.path / "mlflow.db").exists():
        raise InputError(f"nothing was logged in {home.path} yet; run a sweep first")
    check_port(host, port)
    say(f"MLflow on http://{host}:{port}/{_find_runs_page(home)} (Ctrl-C ends it)")
    run_server(MlflowSettings(database=uri, artifacts=home.artifacts, host=host, port=port))


def run_server(settings: MlflowSettings) -> None:
    """Serve until the process receives a signal to stop."""
    from service.tracking.mlflow_serving import serve_mlflow  # it takes seconds to import

    serve_mlflow(settings)


def build_server_command(
    home: Home, host: str, port: int, api: str
) -> tuple[list[str], Mapping[str, str]]:
    """Build the command that serves a home's runs to who has a token of an API; its environment.

    ``gapsweep serve-mlflow`` is the command; it is started without the working directory on the
    path of modules.
    """
    command = [sys.executable, "-P", "-m", "service.cli", "serve-mlflow", "--api", api]
    command += ["--home", str(home.path), "--host", host, "--port", str(port)]
    return command, {"MLFLOW_BACKEND_STORE_URI": home.mlflow_uri}


def _find_runs_page(home: Home) -> str:
    """Return the page of the sweeps' runs: MLflow's start page is about language models.

    It is read directly from the database, because MLflow's client takes seconds to import.
    """
    database = build_readonly_sqlite_uri(home.path / "mlflow.db")
    try:
        with closing(sqlite3.connect(database, uri=True)) as file:
            query = "SELECT experiment_id FROM experiments WHERE name = ?"
            (number,) = file.execute(query, (EXPERIMENT,)).fetchone()
    except (sqlite3.Error, TypeError):  # another database of the user's, or nothing in it
        return ""
    return f"#/experiments/{number}/runs?workflowType=machine_learning"
