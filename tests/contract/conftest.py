"""The databases and the stores that the store's contract is tested with.

They are imported where they are made: the process that hands tests to others loads this file too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from service.server.store.bundle_store import BundleStore
    from service.server.store.database import Database
    from service.server.store.progress_store import ProgressStore
    from service.server.store.sweep_store import SweepStore
    from service.server.store.user_store import UserStore
    from service.server.store.webhook_store import WebhookStore
    from tests.stores import Clock


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    from tests.databases import postgres

    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables; no session may be left open."""
    from sqlalchemy import text

    from service.server.store.database import Database

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
    from tests.databases import create_tables

    create_tables(empty)
    return empty


@pytest.fixture
def clock() -> Clock:
    from tests.stores import Clock

    return Clock()


@pytest.fixture
def users(database: Database, clock: Clock) -> UserStore:
    from service.server.store.user_store import UserStore

    return UserStore(database, clock)


@pytest.fixture
def sweeps(database: Database, users: UserStore, clock: Clock) -> SweepStore:
    from service.server.store.sweep_store import SweepStore
    from service.server.store.user_roles import UserRole

    users.create_or_update("ann", UserRole.USER)
    users.create_or_update("bob", UserRole.USER)
    return SweepStore(database, clock)


@pytest.fixture
def progress(database: Database, clock: Clock) -> ProgressStore:
    from service.server.store.progress_store import ProgressStore

    return ProgressStore(database, clock)


@pytest.fixture
def bundles(database: Database, clock: Clock) -> BundleStore:
    from service.server.store.bundle_store import BundleStore

    return BundleStore(database, clock)


@pytest.fixture
def webhooks(database: Database, clock: Clock) -> WebhookStore:
    from service.server.store.webhook_store import WebhookStore

    return WebhookStore(database, clock)


@pytest.fixture(scope="module")
def bare_sweeps(without_plots: None) -> Iterator[None]:
    """Sweeps draw no plots, and log to no MLflow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAPSWEEP_MLFLOW_URI", "off")
        yield
