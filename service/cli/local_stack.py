"""The whole service on one machine: Ray and an MLflow server as child processes, beside the API."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tenacity import (
    RetryError,
    Retrying,
    retry_if_result,
    stop_after_delay,
    wait_fixed,
)

from service.base.accounts import get_account_name
from service.base.errors import ClusterUnavailableError, ServerError
from service.base.ports import check_port, find_free_port
from service.cluster.compat import build_ray_command
from service.cluster.jobs_client import RayJobs
from service.server.serve import ServerSettings
from service.server.store.database import Database
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from service.sweep.home import Home
from service.tracking.mlflow_server import mlflow_command

_HOST = "127.0.0.1"
_STARTUP_TIMEOUT = 120.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Ports:
    """The ports of the three servers, which listen on localhost only."""

    api: int
    mlflow: int
    ray: int

    def check(self) -> None:
        """Check that the ports are free.

        Raises:
            InputError: one is in use.
        """
        for port, option in (
            (self.api, "--port"),
            (self.mlflow, "--mlflow-port"),
            (self.ray, "--ray-port"),
        ):
            check_port(_HOST, port, option)


@contextmanager
def run_stack(
    settings: ServerSettings, ports: Ports, cpus: int | None, print_line: Callable[[str], None]
) -> Iterator[tuple[ServerSettings, str]]:
    """Start Ray and MLflow, migrate the database, and stop both when the block ends.

    Yields the settings to serve with, and a new token of the current user, who is an admin; the
    user's earlier tokens are revoked.

    Raises:
        InputError: a port is in use, or the home folder cannot be written.
        ServerError: Ray or MLflow did not start; see its log.
    """
    ports.check()
    home = Home(settings.service.home).create()
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    with tempfile.TemporaryDirectory(prefix="gapsweep-", dir="/tmp") as scratch:
        print_line("starting Ray and MLflow …")
        ray = _Child("Ray", _ray(ports, cpus, Path(scratch)), home.path / "ray.log")
        with ray, _Child("MLflow", mlflow_command(home, _HOST, ports.mlflow), _log(home)) as mlflow:
            cluster = RayJobs(f"http://{_HOST}:{ports.ray}")
            ray.wait_until(lambda: _has_nodes(cluster))
            mlflow.wait_until(lambda: _answers(f"http://{_HOST}:{ports.mlflow}/health"))
            database = Database(settings.service.database_url)
            database.upgrade()
            token = UserStore(database).rotate_tokens(get_account_name(), UserRole.ADMIN)
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
    """A process that ends when this one ends, for whatever reason."""

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
                start_new_session=True,  # Ctrl-C stops this process first, then the children
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
        """Wait until ``ready`` returns True.

        Raises:
            ServerError: the process ended or took too long.
        """
        timeout = stop_after_delay(_STARTUP_TIMEOUT)
        retrying = Retrying(
            stop=lambda state: self._has_ended() or timeout(state),
            wait=wait_fixed(0.2),
            retry=retry_if_result(lambda is_ready: not is_ready),
        )
        try:
            retrying(ready)
        except RetryError:
            raise ServerError(f"{self._name} did not start; see {self._log}") from None

    def _has_ended(self) -> bool:
        return self._process.poll() is not None


def _end_with_parent() -> None:
    """Linux only: receive SIGTERM when the parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ray(ports: Ports, cpus: int | None, scratch: Path) -> tuple[list[str], Mapping[str, str]]:
    words = [*build_ray_command(), "start", "--head", "--block"]
    words += [f"--port={find_free_port()}", f"--node-ip-address={_HOST}", f"--temp-dir={scratch}"]
    words += ["--include-dashboard=true", f"--dashboard-host={_HOST}"]
    words += [f"--dashboard-port={ports.ray}", "--disable-usage-stats"]
    words += [
        f"--dashboard-agent-listen-port={find_free_port()}"
    ]  # another Ray may use the default
    words += [] if cpus is None else [f"--num-cpus={cpus}"]
    return words, {"RAY_JOB_STOP_WAIT_TIME_S": "30"}


def _log(home: Home) -> Path:
    return home.path / "mlflow.log"


def _has_nodes(cluster: RayJobs) -> bool:
    try:
        return bool(cluster.list_nodes())
    except ClusterUnavailableError:
        return False


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):
            return True
    except (URLError, OSError):
        return False
