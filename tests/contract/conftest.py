"""Databases of both kinds for the contract of the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from service.server.store.database import Database
from tests.databases import postgres
from tests.stores import Clock


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables; no session may be left open."""
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path / 'service.db'}")
    else:
        made = Database(request.getfixturevalue("postgres_url"))
        with made.writing() as session:
            session.execute(text("DROP SCHEMA public CASCADE"))
            session.execute(text("CREATE SCHEMA public"))
    yield made
    assert made.checked_out() == 0
    made.close()


@pytest.fixture
def database(empty: Database) -> Database:
    """An empty database of the newest schema."""
    empty.upgrade()
    return empty


@pytest.fixture
def clock() -> Clock:
    return Clock()
