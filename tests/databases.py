"""Real databases for tests: SQLite files, and a PostgreSQL server of this test run's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_USER = "postgres"


def postgres_programs() -> Path | None:
    """Where a PostgreSQL server's programs are, if they are: Debian keeps them off the path."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server on a free port; the URL of its database, until it is stopped."""
    programs = postgres_programs()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, socket.socket() as probe:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        data.mkdir()
        if os.geteuid() == 0:  # it does not run as root
            shutil.chown(data, _USER)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        _run(programs / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8")
        options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
        _run(programs / "pg_ctl", "-D", data, "-l", data / "log", "-w", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://{_USER}@127.0.0.1:{port}/postgres"
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _run(program: Path, *arguments: object) -> None:
    as_server = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
    words = [*as_server, str(program), *(str(a) for a in arguments)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/")
