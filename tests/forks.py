"""Commands forked from one process for all tests, which has imported what they import.

Such a command starts seconds sooner than ``commands.command``'s, and is as a process otherwise: it
gets the signals that the one that is started gets, and dies with it. This module is also that
program: ``python -P -m tests.forks SOCKET SCRIPT …``.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

from service.cluster.start_worker import FORK_SERVER, run_forked

_SCRIPTS = Path(__file__).parents[1] / "service"


@functools.cache
def fork_server() -> str | None:
    """The server from which the tests' workers, drivers and commands are forked, until they end."""
    from service.cluster.fork_server import OF_DRIVERS, keep_fork_server

    path = keep_fork_server(*OF_DRIVERS)
    os.environ.pop(FORK_SERVER, None)  # a Ray of a sweep's own has its own
    return path


def forked_command(*arguments: str) -> list[str]:
    """The command line's words for a process, as ``commands.command``, in the repository's root."""
    return forked_script(_SCRIPTS / "cli" / "__main__.py", *arguments)


def forked_script(script: Path, *arguments: str) -> list[str]:
    """The words for a process of a Python script."""
    path = fork_server()
    words = [str(script), *arguments]
    if path is None:
        return [sys.executable, "-P", *words]
    return [sys.executable, "-P", "-m", __name__, path, *words]


def _main() -> int:
    path, *words = sys.argv[1:]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    code = run_forked([sys.executable, *words], {**environment, FORK_SERVER: path})
    if code is None:
        os.execve(sys.executable, [sys.executable, *words], environment)
    return code


if __name__ == "__main__":
    sys.exit(_main())
