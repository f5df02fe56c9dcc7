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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MARK = "GAPSWEEP_TEST_RAY"


@dataclass(frozen=True)
class Ray:
    """A running head node."""

    address: str
    mark: str

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
def ray_head(cpus: int) -> Iterator[Ray]:
    """Start one and end it, with all that it started."""
    mark = secrets.token_hex(4)
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port=0"]
    options = [f"--num-cpus={cpus}", "--include-dashboard=false", "--disable-usage-stats"]
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*words, *options, f"--temp-dir={folder}"],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, _MARK: mark, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"},
            )
        ray = Ray(_address(log), mark)
        try:
            yield ray
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            wait_for(lambda: not [p for p in _pids() if ray._owns(p)], 30)


def wait_for(condition: object, seconds: float) -> None:
    """Until a condition holds; it fails where that takes longer."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def _address(log: Path) -> str:
    found: list[str] = []

    def started() -> bool:
        found.extend(re.findall(r"--address='([\d.:]+)'", log.read_text()))
        return bool(found)

    wait_for(started, 60)
    return found[0]


def _pids() -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]


def _title(pid: int) -> str:
    return _read(pid, "cmdline").decode(errors="replace")


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended
        return b""
