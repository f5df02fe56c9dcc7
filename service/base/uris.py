"""Puts the paths of files into URIs, whatever characters the paths have.

No other module writes a path into a URI by hand. ``Path.as_uri`` is right for ``file:``.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote


def build_sqlite_url(path: Path) -> str:
    """The URL of a SQLite database, for SQLAlchemy and what is built on it.

    SQLAlchemy ends the path at ``?`` and decodes ``%xx``; all other characters stand for
    themselves. They stay as they are, because MLflow creates the folder of the path that it reads
    from the URL without decoding it.
    """
    return f"sqlite:///{str(path).replace('%', '%25').replace('?', '%3F')}"


def find_sqlite_path(url: str) -> Path | None:
    """The file of a SQLite database by its URL; None for another database or one in memory."""
    prefix, _, rest = url.partition(":///")
    name = unquote(rest.partition("?")[0])
    return Path(name) if prefix == "sqlite" and name and name != ":memory:" else None


def build_readonly_sqlite_uri(path: Path) -> str:
    """The URI with which :func:`sqlite3.connect` opens an existing database for reading."""
    return f"{path.resolve().as_uri()}?mode=ro"
