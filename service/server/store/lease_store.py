"""Leases: the right of one process to do work that only one may do at a time; they expire."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from service.server.store.database import Database
from service.server.store.tables import LeaseRow

_MOST_AHEAD = 3
"""How many times the length of a lease its end can lie ahead, where two clocks differ."""
_log = logging.getLogger(__name__)


class LeaseStore:
    """The leases of one service; ``holder`` names this process among others."""

    def __init__(
        self, database: Database, holder: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._holder, self._clock = database, holder, clock

    def acquire(self, name: str, seconds: float) -> bool:
        """Acquire or extend a lease; whether this process holds it now.

        A lease that another process holds for longer than any lease lasts is over: the clock of the
        process that took it was wrong, or has been set back since.
        """
        now = self._clock()
        until, impossible = now + seconds, now + _MOST_AHEAD * seconds
        ours_or_over = (
            (LeaseRow.holder == self._holder)
            | (LeaseRow.until <= now)
            | (LeaseRow.until > impossible)
        )
        extend = (
            update(LeaseRow)
            .where(LeaseRow.name == name, ours_or_over)
            .values(holder=self._holder, until=until)
        )
        try:
            with self._database.writing() as session:
                old = session.get(LeaseRow, name)
                if old is not None and old.holder != self._holder and old.until > impossible:
                    _log.warning(
                        "the lease of %s was held by %s for %.0f s more, which is longer than a "
                        "lease lasts; it counts as over. Are the clocks of the servers right?",
                        name,
                        old.holder,
                        old.until - now,
                    )
                if session.execute(extend).rowcount:  # type: ignore[attr-defined]  # an update's result has it
                    return True
                if old is not None:
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
