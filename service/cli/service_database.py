"""The database of the service, for the commands on the server's machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.base.uris import build_sqlite_url

if TYPE_CHECKING:
    from service.server.store.database import Database
    from service.sweep.home import Home

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        envvar="GAPSWEEP_DATABASE_URL",
        help="PostgreSQL or SQLite URL (default: service.db in the data directory).",
    ),
]


def open_home(option: Path | None) -> Home:
    """The data directory, which is created if it does not exist."""
    from service.sweep.environment import locate_home

    return locate_home(option).create()


def find_database_url(home: Home, option: str | None) -> str:
    """The URL of the service's database."""
    return option or build_sqlite_url(home.path / "service.db")


def open_database(home: Path | None, url: str | None) -> Database:
    """The service's database.

    Raises:
        DatabaseUnavailableError: it does not answer.
        DatabaseSetupError: its schema is another version's.
    """
    from service.server.store.database import Database

    database = Database(find_database_url(open_home(home), url))
    database.check()
    return database
