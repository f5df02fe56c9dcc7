"""A Ray of this test run's own, with as many logical CPUs as a test wants, and its processes."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MARK = "GAPSWEEP_TEST_RAY"


@dataclass(frozen=True)
class Ray:
    """A running head node."""

    address: str
    mark: str

    @property
    def env(self) -> dict[str, str]:
        """What a driver must know to be let in."""
        return _token(self.mark)

    def processes(self, title: str) -> list[int]:
        """The ids of this Ray's processes whose title begins so: an actor's is ``ray::Class``."""
        return [p for p in _pids() if _title(p).startswith(title) and self._owns(p)]

    def ranks(self) -> list[int]:
        """The workers of groups, in the order they were started."""
        return sorted(self.processes("ray::Rank"))

    def tune_actors(self) -> list[int]:
        """A trial's only process, or the leader of its group."""
        return self.processes("ray::ResourceTrainable")

    def _owns(self, pid: int) -> bool:
        return f"{_MARK}={self.mark}".encode() in _read(pid, "environ")


@contextmanager
def ray_cluster(cpus: int, *more: int, before: Sequence[str] = ()) -> Iterator[Ray]:
    """Start a head node and ``more`` nodes, and end them with all that they started.

    The other nodes are started by the command ``before``.
    """
    mark = secrets.token_hex(4)
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        head = ["--head", "--port=0", "--include-dashboard=false", f"--temp-dir={folder}"]
        logs = [Path(folder) / f"log-{number}" for number in range(1 + len(more))]
        processes = [_start(mark, logs[0], f"--num-cpus={cpus}", *head)]
        ray = Ray(_said(logs[0], r"--address='([\d.:]+)'"), mark)
        try:
            for log, count in zip(logs[1:], more, strict=True):
                node = (f"--num-cpus={count}", f"--address={ray.address}")
                processes.append(_start(mark, log, *node, before=before))
                _said(log, "(Ray runtime started)")
            yield ray
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(timeout=60)
            wait_for(lambda: not [p for p in _pids() if ray._owns(p)], 30)


def _start(
    mark: str, log: Path, *options: str, before: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """A node; ``before`` is the command that runs its own as its arguments."""
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    with log.open("w") as output:
        return subprocess.Popen(
            [*before, *words, "--disable-usage-stats", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, _MARK: mark, **_token(mark), "RAY_AUTH_MODE": "token"},
        )


def _token(mark: str) -> dict[str, str]:
    return {"RAY_AUTH_TOKEN": mark * 8}


def wait_for(condition: object, seconds: float) -> None:
    """Until a condition holds; it fails where that takes longer."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def _said(log: Path, pattern: str) -> str:
    """Wait until a node has said something, and what of it stands in the brackets."""
    wait_for(lambda: re.search(pattern, log.read_text()), 60)
    return re.findall(pattern, log.read_text())[0]


def _pids() -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]


def _title(pid: int) -> str:
    return _read(pid, "cmdline").decode(errors="replace")


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended
        return b""
