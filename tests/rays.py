"""A Ray of this test run's own, with as many logical CPUs as a test wants, and its processes."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from service.base.ports import find_free_port
from service.cluster.compat import LOCAL_RAY
from service.cluster.start_worker import FORK_SERVER
from tests.forks import fork_server
from tests.patience import patience, wait_for

_MARK = "GAPSWEEP_TEST_RAY"
_NODE = "GAPSWEEP_TEST_RAY_NODE"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
"""One for every Ray of a test run: a process that has joined one keeps its token."""


@dataclass(frozen=True)
class Ray:
    """A running head node, and the nodes that joined it."""

    port: int
    mark: str
    folder: Path
    dashboard: str
    _nodes: dict[int, subprocess.Popen[bytes]]
    _said: list[str]

    @property
    def address(self) -> str:
        """The head's, as it says it."""
        return self._said[-1]

    @property
    def env(self) -> dict[str, str]:
        """What a driver must know to be let in."""
        return TOKEN

    @property
    def options(self) -> tuple[str, str]:
        """What makes a command use it."""
        return ("--ray-address", self.address)

    def processes(self, title: str) -> list[int]:
        """The ids of this Ray's processes whose title begins so: an actor's is ``ray::Class``."""
        return [p for p in pids() if _title(p).startswith(title) and self._owns(p)]

    def ranks(self) -> list[int]:
        """The workers of groups, in the order they were started."""
        return sorted(self.processes("ray::Rank"))

    def tune_actors(self) -> list[int]:
        """A trial's only process, or the leader of its group."""
        return self.processes("ray::ResourceTrainable")

    def kill_node(self, number: int) -> None:
        """``kill -9`` of a node, 0 is the head, with every process on it."""
        mine = f"{_NODE}={number}".encode()
        for pid in [p for p in pids() if self._owns(p) and mine in read(p, "environ")]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._nodes.pop(number).wait()

    def start_head(self, cpus: int) -> None:
        """The head; after another one at the same addresses, knowing nothing of before."""
        log = self.folder / f"log-0-{len(self._said)}"
        self._nodes[0] = _start(self.mark, 0, log, f"--num-cpus={cpus}", *_head(self))
        self._said.append(_said(log, r"--address='([\d.:]+)'"))

    def start_node(
        self, number: int, cpus: int, before: Sequence[str] = (), env: dict[str, str] | None = None
    ) -> None:
        """One more node; it is started by the command ``before``."""
        log = self.folder / f"log-{number}"
        options = (f"--num-cpus={cpus}", f"--address={self.address}")
        self._nodes[number] = _start(self.mark, number, log, *options, before=before, env=env)
        _said(log, "(Ray runtime started)")

    def end(self) -> None:
        """Every node, and all that they started."""
        for process in self._nodes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._nodes.values():
            process.wait(timeout=patience(60))
        wait_for(lambda: not [p for p in pids() if self._owns(p)], 30)

    def _owns(self, pid: int) -> bool:
        """Whether it was started with this Ray's mark; a forked worker writes into its folder."""
        if f"{_MARK}={self.mark}".encode() in read(pid, "environ"):
            return True
        try:
            return Path(f"/proc/{pid}/fd/2").readlink().is_relative_to(self.folder)
        except OSError:  # it has ended
            return False


@contextmanager
def ray_cluster(
    cpus: int, *more: int, before: Sequence[str] = (), dashboard: bool = False
) -> Iterator[Ray]:
    """Start a head node and ``more`` nodes, and end them with all that they started.

    The other nodes are started by the command ``before``. Jobs need the dashboard.
    """
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        board = f"http://127.0.0.1:{find_free_port()}" if dashboard else ""
        ray = Ray(find_free_port(), secrets.token_hex(4), Path(folder), board, {}, [])
        try:
            ray.start_head(cpus)
            for number, count in enumerate(more, start=1):
                ray.start_node(number, count, before)
            yield ray
        finally:
            ray.end()


def _head(ray: Ray) -> list[str]:
    words = ["--head", f"--port={ray.port}", f"--temp-dir={ray.folder}"]
    if not ray.dashboard:
        return [*words, "--include-dashboard=false"]
    where = ["--dashboard-host=127.0.0.1", f"--dashboard-port={ray.dashboard.rpartition(':')[2]}"]
    return [*words, "--node-ip-address=127.0.0.1", *where]


def _start(
    mark: str,
    number: int,
    log: Path,
    *options: str,
    before: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """A node; ``before`` is the command that runs its own as its arguments.

    Its workers are forked from one process for all tests. The hook of ``ray start`` leaves out the
    processes that nothing here uses.
    """
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    words += ["--disable-usage-stats"]
    own = {_MARK: mark, _NODE: str(number), "RAY_START_HOOK": LOCAL_RAY["RAY_START_HOOK"], **TOKEN}
    forks = None if before else fork_server()  # the command may give it a file system of its own
    own.update({FORK_SERVER: forks} if forks else {})
    with log.open("w") as output:
        return subprocess.Popen(
            [*before, *words, f"--dashboard-agent-listen-port={find_free_port()}", *options],
            cwd=launch_folder(log.parent),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **own, "RAY_JOB_STOP_WAIT_TIME_S": "30", **(env or {})},
        )


def launch_folder(folder: Path) -> Path:
    """Where the nodes of a Ray are started; nothing may be imported from there."""
    made = folder / "launch"
    made.mkdir(exist_ok=True)
    return made


def _said(log: Path, pattern: str) -> str:
    """Wait until a node has said something, and what of it stands in the brackets."""
    wait_for(lambda: re.search(pattern, log.read_text()), 60)
    return re.findall(pattern, log.read_text())[0]


def pids() -> list[int]:
    """Every process's id."""
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]


def _title(pid: int) -> str:
    return read(pid, "cmdline").decode(errors="replace")


def read(pid: int, name: str) -> bytes:
    """A file of a process's in ``/proc``; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended
        return b""
