"""The whole service on one machine: Ray and an MLflow server as child processes, beside the API."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from filelock import FileLock, Timeout

from service.base.accounts import get_account_name
from service.base.errors import ClusterUnavailableError, InputError
from service.base.ports import check_port, find_free_port
from service.base.private_files import keep_private
from service.cli.child_process import Child, Program
from service.client.audit_actions import AuditAction
from service.cluster.compat import LOCAL_RAY, RAY_WORKER_PORTS, build_ray_command
from service.cluster.jobs_client import RayJobs
from service.server.serve import ServerSettings
from service.server.store.audit_store import AuditStore
from service.server.store.callers import Actor
from service.server.store.database import Database
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from service.sweep.home import Home
from service.tracking.mlflow_server import build_server_command

_HOST = "127.0.0.1"
_SCRATCH = "gapsweep-"
"""The beginning of the names of folders in /tmp; the whole path must stay short for sockets."""


@dataclass(frozen=True)
class Ports:
    """The ports of the three servers, which listen on localhost only."""

    api: int
    mlflow: int
    ray: int

    def check(self) -> None:
        """Check that the ports are free, and remain so when Ray starts workers.

        Raises:
            InputError: one is in use, is named twice, or may be taken by a worker of Ray.
        """
        named: dict[int, str] = {}
        for port, option in (
            (self.api, "--port"),
            (self.mlflow, "--mlflow-port"),
            (self.ray, "--ray-port"),
        ):
            if port in RAY_WORKER_PORTS:
                first, last = RAY_WORKER_PORTS.start, RAY_WORKER_PORTS.stop - 1
                raise InputError(
                    f"{option} {port}: Ray's workers listen on ports {first} to {last}; "
                    "choose a port outside of that range"
                )
            if port in named:
                raise InputError(f"{named[port]} and {option} are both {port}; choose another port")
            named[port] = option
            check_port(_HOST, port, option)


@contextmanager
def run_stack(
    settings: ServerSettings, ports: Ports, cpus: int | None, print_line: Callable[[str], None]
) -> Iterator[tuple[ServerSettings, str]]:
    """Start Ray and MLflow, migrate the database, and stop both when the block ends.

    Until then each is started again when it dies; ``print_line`` is told, on another thread. All
    files are this account's only. Yields the settings to serve with, and a new token of the current
    user, who is an admin; the user's earlier tokens are revoked.

    Raises:
        InputError: a port cannot be used, or the home folder cannot be written.
        ServerError: Ray or MLflow did not start; see its log.
    """
    ports.check()
    home = Home(settings.service.home).create()
    keep_private(home.path)
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    with _open_scratch() as scratch, ExitStack() as started:
        print_line("starting Ray and MLflow …")
        programs = (
            _plan_ray(ports, cpus, scratch, home.path / "ray.log"),
            _plan_mlflow(ports, home),
        )
        children = [started.enter_context(Child(p, print_line)) for p in programs]
        for child in children:
            child.wait_until_ready()
        database = Database(settings.service.database_url)
        database.upgrade()
        token = _renew_token(database)
        database.close()
        yield (
            replace(
                settings,
                ray_address=f"http://{_HOST}:{ports.ray}",
                mlflow_uri=f"http://{_HOST}:{ports.mlflow}",
                host=_HOST,
                port=ports.api,
                python=sys.executable,
                parts=children,
            ),
            token,
        )


@contextmanager
def _open_scratch() -> Iterator[Path]:
    """A folder for Ray's files, for this account only; deletes those of runs that were killed."""
    for left in Path("/tmp").glob(f"{_SCRATCH}*/lock"):
        with suppress(OSError, Timeout), FileLock(left, timeout=0):
            shutil.rmtree(left.parent, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(
            prefix=_SCRATCH, dir="/tmp", ignore_cleanup_errors=True
        ) as made,
        FileLock(Path(made, "lock")),
    ):
        yield Path(made)


def _renew_token(database: Database) -> str:
    """A new token of the current user, an admin; it ends when `up` is started again."""
    name = get_account_name()
    detail = f"{name}, role {UserRole.ADMIN}, with a new token instead of all others"
    actor = Actor.at_command_line()
    with AuditStore(database).recording(actor, AuditAction.USER_ADD, detail=detail):
        return UserStore(database).rotate_tokens(name, UserRole.ADMIN)


def _plan_ray(ports: Ports, cpus: int | None, scratch: Path, log: Path) -> Program:
    """Ray opens its folder to all accounts, so it lies in one that is closed to them.

    It starts in an empty one: its processes, and so trials, import from where it was started.
    """
    folder, empty = scratch / "ray", scratch / "empty"
    empty.mkdir()
    words = [*build_ray_command(), "start", "--head", "--block"]
    words += [f"--port={find_free_port()}", f"--node-ip-address={_HOST}", f"--temp-dir={folder}"]
    words += ["--include-dashboard=true", f"--dashboard-host={_HOST}"]
    words += [f"--dashboard-port={ports.ray}", "--disable-usage-stats"]
    words += [
        f"--dashboard-agent-listen-port={find_free_port()}"
    ]  # another Ray may use the default
    words += [] if cpus is None else [f"--num-cpus={cpus}"]
    cluster = RayJobs(f"http://{_HOST}:{ports.ray}")
    return Program(
        name="Ray",
        command=words,
        environment={"RAY_JOB_STOP_WAIT_TIME_S": "30", **LOCAL_RAY},
        log=log,
        ready=lambda: _has_nodes(cluster),
        prepare=lambda: shutil.rmtree(folder, ignore_errors=True),  # it names the head that died
        folder=empty,
    )


def _plan_mlflow(ports: Ports, home: Home) -> Program:
    words, environment = build_server_command(
        home, _HOST, ports.mlflow, f"http://{_HOST}:{ports.api}"
    )
    return Program(
        name="MLflow",
        command=words,
        environment=environment,
        log=home.path / "mlflow.log",
        ready=lambda: _answers(f"http://{_HOST}:{ports.mlflow}/health"),
    )


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
