"""The MLflow UI on what the sweeps of a home logged."""

from __future__ import annotations

import os
import socket
import sys

from service.errors import InputError
from service.home import Home
from service.settings import artifact_location, mlflow_uri


def become_mlflow(home: Home, host: str, port: int) -> None:
    """Turn this process into MLflow's server; returns only where another server has it all.

    Raises:
        InputError: nothing was logged, or the address cannot be used.
    """
    uri = mlflow_uri(home)
    if uri is None:
        raise InputError("GAPSWEEP_MLFLOW_URI is off: nothing is logged, nothing can be shown")
    if uri.startswith(("http://", "https://")):
        print(f"the sweeps are logged to {uri}; open it in a browser")
        return
    if uri == home.mlflow_uri and not (home.path / "mlflow.db").exists():
        raise InputError(f"nothing was logged in {home.path} yet; run a sweep first")
    _check_port(host, port)
    print(f"MLflow on http://{host}:{port} (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    if location := artifact_location(home):
        command += ["--default-artifact-root", location]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # 2 GB of workers nobody needs here
    os.execve(command[0], command, {**os.environ, **quiet})


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"{host}:{port} cannot be used ({error.strerror}); name another with --port"
            ) from None
