"""Drivers, and their connections to a service in this process: in memory or over HTTP."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi.testclient import TestClient

from service.base.ports import find_free_port
from service.client.client import Client
from service.server.api.app import create_app
from service.server.api.rate_limits import RateSettings
from service.server.driver_client import DriverClient
from service.server.store.sweep_tokens import SweepScope
from service.server.sweep_service import SweepService
from tests.commands import REPOSITORY
from tests.forks import forked_script
from tests.patience import wait_for


def driver_token(service: SweepService, sweep_id: str, attempt: int = 1) -> str:
    """As the service would hand it over."""
    return service.sweep_tokens.make(SweepScope(sweep_id, attempt))


def driver_client(
    service: SweepService, sweep_id: str, attempt: int = 1, rates: RateSettings | None = None
) -> DriverClient:
    """An attempt's, in memory."""
    http = TestClient(create_app(service, rates=rates), raise_server_exceptions=False)
    token = driver_token(service, sweep_id, attempt)
    return DriverClient(Client("http://testserver", token, http))


@contextmanager
def api_over_http(service: SweepService, port: int | None = None) -> Iterator[str]:
    """Serve a service's API from a thread; its URL."""
    port = port or find_free_port()
    config = uvicorn.Config(create_app(service), port=port, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def start_local_driver(home: Path, sweep_id: str, attempt: int) -> subprocess.Popen[bytes]:
    """The driver of an attempt as a process, whose trials run in it: no cluster is needed."""
    words = [sweep_id, "--attempt", str(attempt), "--home", str(home)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GAPSWEEP_MLFLOW_URI": "off"}
    script = REPOSITORY / "tests" / "local_driver.py"
    return subprocess.Popen(forked_script(script, *words), cwd=REPOSITORY, env=env)
