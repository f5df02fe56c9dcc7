"""Starts the MLflow UI for the sweeps of a home."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing

from service.base.errors import InputError
from service.base.ports import check_port
from service.base.uris import build_readonly_sqlite_uri
from service.sweep.environment import EXPERIMENT, get_artifact_location, get_mlflow_uri
from service.sweep.home import Home


def become_mlflow(home: Home, host: str, port: int) -> None:
    """Replace this process by MLflow's server; returns only if the sweeps are on another server.

    Raises:
        InputError: nothing was logged, or the address cannot be used.
    """
    uri = get_mlflow_uri(home)
    if uri is None:
        raise InputError("GAPSWEEP_MLFLOW_URI is off: no run was logged")
    if uri.startswith(("http://", "https://")):
        print(f"the sweeps are logged to {uri}; open it in a browser")
        return
    if uri == home.mlflow_uri and not (home.path / "mlflow.db").exists():
        raise InputError(f"nothing was logged in {home.path} yet; run a sweep first")
    check_port(host, port)
    print(f"MLflow on http://{host}:{port}/{_find_runs_page(home)} (Ctrl-C ends it)", flush=True)
    command, environment = _build_command(uri, get_artifact_location(home), host, port)
    os.execve(command[0], command, {**os.environ, **environment})


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


def mlflow_command(home: Home, host: str, port: int) -> tuple[list[str], Mapping[str, str]]:
    """Return the command of MLflow's server for a home's database, and its environment."""
    return _build_command(home.mlflow_uri, home.artifacts.as_uri(), host, port)


def _build_command(
    uri: str, artifacts: str | None, host: str, port: int
) -> tuple[list[str], Mapping[str, str]]:
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    command += [] if artifacts is None else ["--default-artifact-root", artifacts]
    return command, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # unused, 2 GB
