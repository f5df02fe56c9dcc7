"""A store of a test's own with a user in it, whose time passes when a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from service.client.job_states import JobState
from service.server.store.database import Database
from service.server.store.job_records import Submission
from service.server.store.sweep_store import SweepStore
from service.server.store.user_roles import UserRole
from service.server.store.user_store import UserStore
from tests.databases import create_tables
from tests.patience import wait_for


class Clock:
    """Time that passes when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Store:
    """SQLite with the newest tables, a clock, and ann, who may submit; tests add to it."""

    def __init__(self, folder: Path, now: float = 1000.0) -> None:
        self.clock = Clock(now)
        self.url = f"sqlite:///{folder / 'service.db'}"
        self.database = Database(self.url)
        create_tables(self.database)
        UserStore(self.database).create_or_update("ann", UserRole.USER)
        self.sweeps = SweepStore(self.database, self.clock)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[Self]:
        """Such a store; no session of the database may be left open at the end."""
        made = cls(folder)
        yield made
        made.close()

    def close(self) -> None:
        """Give back what it has; a thread that reads may be in a query still."""
        wait_for(lambda: self.database.checked_out() == 0, 5)
        self.database.close()

    def add(self, sweep_id: str = "digits-1", spec: str = "name: digits") -> None:
        """A sweep of ann's that waits."""
        name = sweep_id.partition("-")[0]
        self.sweeps.submit(Submission(sweep_id=sweep_id, name=name, owner="ann", spec=spec))

    def launch(self, sweep_id: str = "digits-1", attempt: int = 1) -> None:
        """As if its job were on the cluster."""
        self.sweeps.change(sweep_id, JobState.STARTING, "selected", "queue", attempt=attempt)

    def change(self, *states: JobState, sweep_id: str = "digits-1") -> None:
        """Bring a sweep from state to state."""
        for state in states:
            self.sweeps.change(sweep_id, state, "the test said so", "test")
