"""Starts a Ray worker in the place of Ray's ``setup_worker.py``; a script, which a raylet runs.

Ray 2.60's imports all of Ray, half a second of CPU, only to set the environment variables of the
worker's runtime environment and to replace itself by the worker, which imports Ray again. Where a
runtime environment has more than variables, this replaces itself by Ray's script. Where a server
forks workers (``fork_server.py``), this has it fork one, and waits for its end.
"""

import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress

RAYS_OWN = "GAPSWEEP_RAY_SETUP_WORKER"
"""The environment variable with the path of the script that this one stands for."""

FORK_SERVER = "GAPSWEEP_RAY_FORK_SERVER"
"""The environment variable with the socket of the server that forks workers, if there is one."""
LENGTH, STARTED, EXIT = struct.Struct("!Q"), struct.Struct("!i"), struct.Struct("!i")
"""How a request of that server begins; its answers: a process's id, and its exit code."""
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_CONTEXT, _LANGUAGE = "--serialized-runtime-env-context=", "--language="


def plan(
    words: list[str], environment: dict[str, str], rays_own: str
) -> tuple[list[str], dict[str, str]]:
    """The command that replaces this process, and its environment."""
    context = "".join(w.removeprefix(_CONTEXT) for w in words if w.startswith(_CONTEXT))
    found = json.loads(context or "{}")
    variables = found.pop("env_vars", None) or {}
    python = found.pop("py_executable", None) or sys.executable
    has_more = any(found.values()) or any("$" in value for value in variables.values())
    if has_more or f"{_LANGUAGE}PYTHON" not in words or not os.access(python, os.X_OK):
        return [sys.executable, rays_own, *words], environment
    passed = [w for w in words if not w.startswith((_CONTEXT, _LANGUAGE))]
    return [python, *passed], {**environment, **variables}


def run_forked(command: list[str], environment: dict[str, str]) -> int | None:
    """Have the server fork a process for a command of a script, and pass signals on to it.

    Its exit code, None if no server took it.
    """
    path = environment.get(FORK_SERVER)
    if path is None or command[0] != sys.executable or not command[1].endswith(".py"):
        return None
    with socket.socket(socket.AF_UNIX) as server:
        started = _ask(server, path, command, environment)
        if not started:
            return None
        _pass_signals_on(*STARTED.unpack(started))
        answer = b""  # where the server has died, and the process with it
        with suppress(OSError):
            answer = server.recv(EXIT.size)  # waits for the end of the process
    return EXIT.unpack(answer)[0] if answer else 1


def _ask(
    server: socket.socket, path: str, command: list[str], environment: dict[str, str]
) -> bytes:
    """Request a process; what the server answers once there is one, else nothing."""
    folder = os.getcwd()  # noqa: PTH109 - pathlib takes as long to import as all else here
    request = json.dumps([command[1:], environment, folder]).encode()
    with suppress(OSError):
        server.connect(path)
        socket.send_fds(server, [LENGTH.pack(len(request))], [0, 1, 2])
        server.sendall(request)
        return server.recv(STARTED.size)
    return b""


def _pass_signals_on(pid: int) -> None:
    def send(number: int, _: object) -> None:
        with suppress(ProcessLookupError):  # its end is about to be known here
            os.kill(pid, number)

    for number in _PASSED_ON:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, send)


if __name__ == "__main__":
    command, variables = plan(sys.argv[1:], dict(os.environ), os.environ[RAYS_OWN])
    code = run_forked(command, variables)
    if code is not None:
        sys.exit(code)
    os.execve(command[0], command, variables)
