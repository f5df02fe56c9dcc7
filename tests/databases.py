"""Real databases for tests: SQLite files, and a PostgreSQL server of this test run's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from service.base.ports import find_free_port
from service.server.store.database import Database
from tests.scratch import scratch

_USER = "postgres"


def create_tables(database: Database) -> None:
    """Give an empty database the newest tables; a SQLite file is a copy of one that has them."""
    kind, _, path = database.url.partition(":///")
    if kind != "sqlite" or Path(path).exists():
        database.upgrade()
    else:
        Path(path).write_bytes(_migrate())


@cache
def _migrate() -> bytes:
    """The file of a database of the newest schema without rows."""
    with scratch("migrated-") as folder:
        path = Path(folder) / "service.db"
        database = Database(f"sqlite:///{path}")
        database.upgrade()
        database.close()
        return path.read_bytes()


def postgres_programs() -> Path | None:
    """Where a PostgreSQL server's programs are, if they are: Debian keeps them off the path."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@dataclass(frozen=True)
class Postgres:
    """A server of this test run's own, and its database's URL."""

    url: str
    _data: Path
    _options: str

    def start(self) -> None:
        """Start it."""
        self._control("-l", self._data / "log", "-w", "-o", self._options, "start")

    def stop(self) -> None:
        """As a crash would: whoever is connected is cut off."""
        self._control("-m", "immediate", "-w", "stop")

    def _control(self, *arguments: object) -> None:
        programs = postgres_programs()
        assert programs is not None
        _run(programs / "pg_ctl", "-D", self._data, *arguments)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Start a server on a free port, until the block ends."""
    programs = postgres_programs()
    assert programs is not None
    with scratch("pg-") as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        data.mkdir()
        if os.geteuid() == 0:  # it does not run as root
            shutil.chown(data, _USER)
        port = find_free_port()
        _run(programs / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "-N")
        options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
        url = f"postgresql+psycopg://{_USER}@127.0.0.1:{port}/postgres"
        server = Postgres(url, data, options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of such a server's database."""
    with postgres_server() as server:
        yield server.url


def _run(program: Path, *arguments: object) -> None:
    as_server = ["runuser", "-u", _USER, "--"] if os.geteuid() == 0 else []
    words = [*as_server, str(program), *(str(a) for a in arguments)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/")
