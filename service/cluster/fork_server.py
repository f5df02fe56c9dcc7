"""Forks Ray's workers and sweeps' drivers from one process that has imported what they import.

A worker that is started by itself imports torch, Ray and Tune, which takes three seconds of CPU; a
forked one has all but Ray. The program ``python -P -m service.cluster.fork_server SOCKET_FD
MODULE…`` ends with its standard input. ``start_worker.py``, which Ray starts in the place of a
worker, asks it on a Unix socket for a process with its own streams, environment and folder, passes
signals on to that process and waits for its end; so does ``service.server.start_driver``. If the
one that asks is killed, or this server ends, so does the process that was forked.

The server imports no Ray, whose C++ reads the environment of a worker when it is loaded, starts no
thread and never uses a GPU: a process that has done so cannot be forked.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from service.cluster.start_worker import EXIT, FORK_SERVER, LENGTH, STARTED

OF_WORKERS = (
    "service.cluster.worker",  # with torch and pandas
    # the largest of Ray's own
    "requests",
    "jsonschema",
    "google.protobuf.json_format",
    "fsspec",
)
"""What workers import."""
OF_TABLES = ("sklearn.impute", "sklearn.preprocessing")
"""What workers import to encode a table, which takes each of them a second: with SciPy."""
OF_DRIVERS = (
    *OF_TABLES,
    "service.server.driver",
    "service.run.start_and_resume",
    "service.run.sweep_session",
    "service.tracking.mlflow_runs",  # with MLflow
    "service.report.page",  # with Matplotlib
    "optuna",
)
"""What drivers import besides."""
_PATIENCE = 10.0
"""Seconds that one who asks may take to say what for."""


@dataclass(frozen=True)
class Request:
    """What a forked process is to run: a script with its arguments, and where."""

    words: list[str]
    environment: dict[str, str]
    folder: str
    streams: list[int]


@contextmanager
def run_fork_server(*more: str) -> Iterator[str | None]:
    """Have the workers of a Ray that is started in the block forked; the path of the server.

    The server imports ``more`` modules than workers do. It belongs to this process and ends with
    the block. There is none where the system has no descriptors of processes (Linux has), nor
    inside of another such block.
    """
    if _is_unwanted():
        yield os.environ.get(FORK_SERVER)
        return
    with _named_server() as path, _running_server(path, [*OF_WORKERS, *more]):
        yield path


def keep_fork_server(*more: str) -> str | None:
    """Run such a server until this process ends; its path."""
    running = ExitStack()
    path = running.enter_context(run_fork_server(*more))
    atexit.register(running.close)
    return path


def plan_fork_server(*more: str) -> Callable[[], object]:
    """Name such a server in the environment, and return what starts it, once.

    It runs until this process ends. Before it is started, workers start by themselves.
    """
    if _is_unwanted():
        return lambda: None
    running = ExitStack()
    atexit.register(running.close)
    path = running.enter_context(_named_server())
    return cache(lambda: running.enter_context(_running_server(path, [*OF_WORKERS, *more])))


def _is_unwanted() -> bool:
    return not hasattr(os, "pidfd_open") or FORK_SERVER in os.environ


@contextmanager
def _named_server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="gapsweep-") as folder:
        path = str(Path(folder, "forks"))  # in a folder that only this user can enter
        os.environ[FORK_SERVER] = path
        try:
            yield path
        finally:
            os.environ.pop(FORK_SERVER, None)


@contextmanager
def _running_server(path: str, modules: Sequence[str]) -> Iterator[None]:
    server = _start(path, modules)
    try:
        yield
    finally:
        server.kill()
        server.communicate()


def _start(path: str, modules: Sequence[str]) -> subprocess.Popen[bytes]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        return subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(listener.fileno()), *modules],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,  # it is closed when this process ends
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is not for it
        )


class ForkServer:
    """Forks for those who connect, and tells each how its process ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def serve(self) -> Request | None:
        """Serve until the standard input ends: None; in a forked process, what it has to run."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is self._listener:
                    request = self._accept()
                    if request is not None:
                        return request
                else:
                    self._settle(key.data)

    def _accept(self) -> Request | None:
        asking, _ = self._listener.accept()
        asking.settimeout(_PATIENCE)
        streams: list[int] = []
        try:
            head, streams, _, _ = socket.recv_fds(asking, LENGTH.size, 3)
            request = _read(head, asking, streams)
            pid = os.fork()
        except (OSError, ValueError, struct.error):
            asking.close()  # it starts the process itself
            pid = None
        if pid == 0:
            return request
        for stream in streams:
            os.close(stream)
        if pid is not None:
            self._watch(_Fork(asking, pid, os.pidfd_open(pid)))
        return None

    def _watch(self, fork: _Fork) -> None:
        self._selector.register(fork.process, selectors.EVENT_READ, fork)
        self._selector.register(fork.asking, selectors.EVENT_READ, fork)
        with suppress(OSError):
            fork.asking.sendall(STARTED.pack(fork.pid))

    def _settle(self, fork: _Fork) -> None:
        """Say how a process ended, or end it because nobody waits for it any more."""
        known = self._selector.get_map().get(fork.process)
        if known is None or known.data is not fork:
            return  # it has ended, and its end of the socket as well
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fork.process, signal.SIGKILL)
        _, status = os.waitpid(fork.pid, 0)
        self._selector.unregister(fork.process)
        self._selector.unregister(fork.asking)
        with suppress(OSError):
            fork.asking.sendall(EXIT.pack(os.waitstatus_to_exitcode(status)))
        fork.asking.close()
        os.close(fork.process)


@dataclass(frozen=True)
class _Fork:
    """A forked process, by its id and a descriptor that is readable once it has ended."""

    asking: socket.socket
    pid: int
    process: int


def _read(head: bytes, asking: socket.socket, streams: list[int]) -> Request:
    """Read a request.

    Raises:
        OSError, ValueError, struct.error: it is broken, or cannot be met.
    """
    with asking.makefile("rb") as file:
        words, environment, folder = json.loads(file.read(*LENGTH.unpack(head)))
    _refuse_other_libraries(_list_entries(environment))
    return Request(words, environment, folder, streams)


def _refuse_other_libraries(entries: Sequence[str]) -> None:
    """Refuse to fork for a process that would import something else than what is imported here."""
    here = {name.partition(".")[0] for name in sys.modules}
    for entry in set(entries) - set(sys.path):
        with suppress(OSError):
            found = {path.name.partition(".")[0] for path in Path(entry).iterdir()}
            if found & here:
                raise ValueError(found & here)


def become(request: Request, by_imports: Mapping[str, str]) -> None:
    """Give a forked process all that the one that was asked for would have been started with.

    The variables that imports have set are set as they would have been in that process.
    """
    os.setsid()
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    before = _list_entries(os.environ)
    os.environ.clear()
    os.environ.update({**by_imports, **request.environment})
    os.chdir(request.folder)
    rest = [entry for entry in sys.path if entry not in before]
    script = [] if os.environ.get("PYTHONSAFEPATH") else [str(Path(request.words[0]).parent)]
    sys.path[:] = [*script, *_list_entries(os.environ), *rest]
    sys.argv = list(request.words)
    numpy: Any = import_module("numpy")
    numpy.random.seed()
    gc.enable()


def heed_threads() -> None:
    """Let torch use as many threads as ``OMP_NUM_THREADS`` says, which it read when imported."""
    torch, threads = sys.modules.get("torch"), os.environ.get("OMP_NUM_THREADS", "")
    if torch is not None and threads.isdecimal() and int(threads):
        torch.set_num_threads(int(threads))


def _list_entries(environment: Mapping[str, str]) -> list[str]:
    return [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]


_DEATH_SIGNAL = 1
"""Linux's ``PR_SET_PDEATHSIG``: the signal that a process gets when the one that forked it ends."""


def main() -> None:
    """Import, then serve; a forked process runs its script and ends with it."""
    gc.disable()
    before, server = dict(os.environ), os.getpid()
    for name in sys.argv[2:]:
        with suppress(Exception):  # the process imports it again, and says why
            import_module(name)
    by_imports = {name: value for name, value in os.environ.items() if name not in before}
    end_with_server = ctypes.CDLL(None).prctl
    gc.freeze()  # it is never looked through for garbage, and so stays shared
    request = ForkServer(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is not None:
        gc.collect()  # closes what the server had open, before other files have these numbers
        end_with_server(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != server:
            return
        become(request, by_imports)
        heed_threads()
        runpy.run_path(request.words[0], run_name="__main__")


if __name__ == "__main__":
    main()
