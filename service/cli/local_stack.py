"""The whole service on one machine: a Ray, an MLflow server, and around them the API."""

from __future__ import annotations

import ctypes
import getpass
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from service.base.errors import ClusterAwayError, ServerError
from service.base.ports import check_port, free_port
from service.cluster.compat import ray_command
from service.cluster.jobs_client import RayJobs
from service.server.serve import ServerSettings
from service.server.store.database import Database
from service.server.store.roles import RoleOfUser
from service.server.store.users import Users
from service.sweep.home import Home
from service.tracking.mlflow_server import mlflow_command

_HOST = "127.0.0.1"
_STARTUP = 120.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Ports:
    """Where the three listen, on this machine only."""

    api: int
    mlflow: int
    ray: int

    def check(self) -> None:
        """See that nobody has them.

        Raises:
            InputError: somebody has one.
        """
        for port, option in (
            (self.api, "--port"),
            (self.mlflow, "--mlflow-port"),
            (self.ray, "--ray-port"),
        ):
            check_port(_HOST, port, option)


@contextmanager
def started(
    settings: ServerSettings, ports: Ports, cpus: int | None, say: Callable[[str], None]
) -> Iterator[tuple[ServerSettings, str]]:
    """Start Ray and MLflow, bring the database up to date, and end both with the block.

    The settings to serve with, and a new token of this machine's user, an admin; the tokens that
    the user had before are revoked.

    Raises:
        InputError: a port is taken, or the home cannot be written.
        ServerError: one of them did not start; its log says why.
    """
    ports.check()
    home = Home(settings.service.home).create()
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    with tempfile.TemporaryDirectory(prefix="gapsweep-", dir="/tmp") as scratch:
        say("starting Ray and MLflow …")
        ray = _Child("Ray", _ray(ports, cpus, Path(scratch)), home.path / "ray.log")
        with ray, _Child("MLflow", mlflow_command(home, _HOST, ports.mlflow), _log(home)) as mlflow:
            cluster = RayJobs(f"http://{_HOST}:{ports.ray}")
            ray.wait_until(lambda: _has_nodes(cluster))
            mlflow.wait_until(lambda: _answers(f"http://{_HOST}:{ports.mlflow}/health"))
            database = Database(settings.service.database_url)
            database.upgrade()
            token = Users(database).renew(getpass.getuser(), RoleOfUser.ADMIN)
            database.close()
            yield (
                replace(
                    settings,
                    ray_address=f"http://{_HOST}:{ports.ray}",
                    mlflow_uri=f"http://{_HOST}:{ports.mlflow}",
                    host=_HOST,
                    port=ports.api,
                    python=sys.executable,
                ),
                token,
            )


class _Child:
    """A process that ends when this one does, whatever ends it."""

    def __init__(self, name: str, command: tuple[list[str], Mapping[str, str]], log: Path) -> None:
        words, environment = command
        self._name, self._log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                words,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for us; they end after the API
                preexec_fn=_end_with_parent,
            )

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it can be used.

        Raises:
            ServerError: it ended, or took too long.
        """
        deadline = time.monotonic() + _STARTUP
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{self._name} did not start; {self._log} says why")
            time.sleep(0.2)


def _end_with_parent() -> None:
    """Linux: be told to end when the parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ray(ports: Ports, cpus: int | None, scratch: Path) -> tuple[list[str], Mapping[str, str]]:
    words = [*ray_command(), "start", "--head", "--block"]
    words += [f"--port={free_port()}", f"--node-ip-address={_HOST}", f"--temp-dir={scratch}"]
    words += ["--include-dashboard=true", f"--dashboard-host={_HOST}"]
    words += [f"--dashboard-port={ports.ray}", "--disable-usage-stats"]
    words += [f"--dashboard-agent-listen-port={free_port()}"]  # another Ray may have the usual one
    words += [] if cpus is None else [f"--num-cpus={cpus}"]
    return words, {"RAY_JOB_STOP_WAIT_TIME_S": "30"}


def _log(home: Home) -> Path:
    return home.path / "mlflow.log"


def _has_nodes(cluster: RayJobs) -> bool:
    try:
        return bool(cluster.nodes())
    except ClusterAwayError:
        return False


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):
            return True
    except (URLError, OSError):
        return False
