"""What the sweeps and bundles of each user take on the disk, as it was last measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sqlalchemy import and_, func, or_, select, update

from service.client.job_states import JobState
from service.server.store.database import Database
from service.server.store.tables import BundleRow, SweepRow

_ACTIVE = [state.value for state in JobState if state.is_active]


class StorageStore:
    """The sizes of one service's sweeps."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def list_unmeasured(self, period: float, limit: int) -> tuple[str, ...]:
        """Sweeps to measure now, the longest unmeasured first.

        These were never measured, have changed their state since then, or are on the cluster and
        were measured more than ``period`` seconds ago.
        """
        grows = and_(SweepRow.state.in_(_ACTIVE), SweepRow.measured < self._clock() - period)
        due = or_(SweepRow.measured.is_(None), SweepRow.measured <= SweepRow.changed, grows)
        query = (
            select(SweepRow.id)
            .where(SweepRow.state != JobState.DELETING.value, due)
            .order_by(SweepRow.measured.is_not(None), SweepRow.measured)
            .limit(limit)
        )
        with self._database.reading() as session:
            return tuple(session.scalars(query))

    def record_size(self, sweep_id: str, size: int) -> None:
        """Record the size of a sweep's folder, in bytes."""
        values = {"size": size, "measured": self._clock()}
        with self._database.writing() as session:
            session.execute(update(SweepRow).where(SweepRow.id == sweep_id).values(**values))

    def stored_bytes(self) -> Mapping[str, int]:
        """Bytes by owner: the folders of the sweeps, and the archives of the bundles."""
        found: dict[str, int] = {}
        queries = (
            select(SweepRow.owner, func.sum(SweepRow.size)).group_by(SweepRow.owner),
            select(BundleRow.owner, func.sum(BundleRow.size)).group_by(BundleRow.owner),
        )
        with self._database.reading() as session:
            for query in queries:
                for owner, total in session.execute(query):
                    found[owner] = found.get(owner, 0) + int(total or 0)
        return found

    def stored_bytes_of(self, owner: str) -> int:
        """Bytes of one owner, as :meth:`stored_bytes`."""
        queries = (
            select(func.sum(SweepRow.size)).where(SweepRow.owner == owner),
            select(func.sum(BundleRow.size)).where(BundleRow.owner == owner),
        )
        with self._database.reading() as session:
            return sum(int(session.scalar(query) or 0) for query in queries)
