"""Leases: the right of one process to do work that only one may do at a time; they expire."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from service.server.store.database import Database
from service.server.store.tables import LeaseRow


class LeaseStore:
    """The leases of one service; ``holder`` names this process among others."""

    def __init__(
        self, database: Database, holder: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._holder, self._clock = database, holder, clock

    def acquire(self, name: str, seconds: float) -> bool:
        """Acquire or extend a lease; whether this process holds it now."""
        now = self._clock()
        until = now + seconds
        ours_or_over = (LeaseRow.holder == self._holder) | (LeaseRow.until <= now)
        extend = (
            update(LeaseRow)
            .where(LeaseRow.name == name, ours_or_over)
            .values(holder=self._holder, until=until)
        )
        try:
            with self._database.writing() as session:
                if session.execute(extend).rowcount:  # type: ignore[attr-defined]  # an update's result has it
                    return True
                if session.get(LeaseRow, name) is not None:
                    return False
                session.add(LeaseRow(name=name, holder=self._holder, until=until))
        except IntegrityError:  # another process inserted it at the same time
            return False
        return True

    def release(self, name: str) -> None:
        """Release a lease so that another process can acquire it at once."""
        ours = delete(LeaseRow).where(LeaseRow.name == name, LeaseRow.holder == self._holder)
        with self._database.writing() as session:
            session.execute(ours)
