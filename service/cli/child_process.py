"""A program that a service on one machine needs: it is started, watched, started again, ended."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.base.errors import ServerError

_STARTUP_TIMEOUT = 300.0
_POLL = 0.5
_PROBE_PERIOD = 5.0
_END_TIMEOUT = 30.0
_KILL_TIMEOUT = 5.0
_LONGEST_PAUSE = 60.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run. ``prepare`` is called before each start, ``ready`` says whether it answers.

    It starts in ``folder`` (default: this process's). Python in it, and in all that it starts, has
    the safe path: nothing is imported from the folder where `gapsweep up` was started.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None
    folder: Path | None = None


class Child:
    """A program that runs until the ``with`` block ends, and ends with this process.

    When it dies it is started again, after a pause that grows with each start that fails.
    """

    def __init__(self, program: Program, print_line: Callable[[str], None]) -> None:
        self._program, self._print = program, print_line
        self._ending = threading.Event()
        self._problem: str | None = "starting"
        self._watcher = threading.Thread(target=self._watch, name=program.name, daemon=True)
        self._process = self._start()

    @property
    def name(self) -> str:
        """The program's name."""
        return self._program.name

    @property
    def problem(self) -> str | None:
        """Why it cannot be used at the moment; None if it can."""
        return self._problem

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._watcher.ident is not None:
            self._watcher.join(_END_TIMEOUT)
        self._end()

    def wait_until_ready(self) -> None:
        """Wait for the first start, and watch the program from then on.

        Raises:
            ServerError: the program ended or took too long.
        """
        deadline = time.monotonic() + _STARTUP_TIMEOUT
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{self.name} did not start; see {self._program.log}")
            time.sleep(0.2)
        self._problem = None
        self._watcher.start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._program.prepare()
        with self._program.log.open("ab") as output:
            return subprocess.Popen(
                list(self._program.command),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self._program.folder,
                env={**os.environ, "PYTHONSAFEPATH": "1", **self._program.environment},
                start_new_session=True,  # Ctrl-C stops this process first, then the children
                preexec_fn=_end_with_parent,
            )

    def _watch(self) -> None:
        """Linux ends a child with the thread that started it: this one lives until the end."""
        pause, probed = 1.0, time.monotonic()
        while not self._ending.wait(_POLL):
            if self._process.poll() is not None:
                self._restart(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            elif time.monotonic() - probed > _PROBE_PERIOD or self._problem is not None:
                self._probe()
                probed = time.monotonic()
                pause = 1.0 if self._problem is None else pause

    def _probe(self) -> None:
        ready, restarted = self._is_ready(), self._problem == "starting again"
        if ready and self._problem is not None:
            self._tell(f"{self.name} answers again")
        if not ready and self._problem is None:
            self._tell(f"{self.name} does not answer; see {self._program.log}")
        self._problem = None if ready else "starting again" if restarted else "does not answer"

    def _is_ready(self) -> bool:
        try:
            return self._program.ready()
        except Exception:  # of whatever library asks: it does not answer
            return False

    def _restart(self, pause: float) -> None:
        self._problem = "starting again"
        self._tell(
            f"{self.name} ended ({_describe(self._process.returncode)}) and is started again; "
            f"see {self._program.log}"
        )
        kill_session(self._process.pid)
        if not self._ending.wait(pause):
            try:
                self._process = self._start()
            except OSError as error:
                self._tell(f"{self.name} cannot be started: {error}")

    def _tell(self, line: str) -> None:
        with suppress(OSError, ValueError):  # the terminal may be closed
            self._print(line)

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_END_TIMEOUT)
        kill_session(self._process.pid)
        self._process.wait()


def kill_session(leader: int) -> None:
    """Kill what is left of the processes that a child and its own children started.

    Elsewhere than on Linux, those that have a process group of their own are not found.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    deadline = time.monotonic() + _KILL_TIMEOUT
    while (left := _find_session(leader)) and time.monotonic() < deadline:
        for process in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def _find_session(leader: int) -> list[int]:
    """Linux only: the living processes of a session, in whatever process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in "ZX":
                found.append(int(path.parent.name))
    return found


def _describe(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _end_with_parent() -> None:
    """Linux only: receive SIGTERM when the parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
