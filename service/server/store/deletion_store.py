"""The deletion of sweeps and bundles from the store.

A sweep that is to be deleted is first marked by its state, DELETING, which nothing leaves. Its rows
go last, when its folder and its runs are gone: a deletion that is interrupted is done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Column, Select, Table, delete, exists, func, select, tuple_
from sqlalchemy.orm import Session

from service.base.errors import ConflictError, IllegalTransitionError, SweepNotFoundError
from service.client.job_states import JobState
from service.client.sweep_events import StateChanged
from service.server.store.database import Database
from service.server.store.job_records import Job
from service.server.store.sweep_store import to_job
from service.server.store.tables import Base, BundleRow, EventRow, SweepRow, WebhookRow
from service.server.store.transitions import find_row, transition

_KEPT = [state.value for state in JobState if state.is_kept]
_OVER = [state.value for state in JobState if state.is_over]
_ROWS = 5_000
"""Rows that one transaction deletes: a writer that waits for SQLite's lock waits briefly."""
_SHOWN = 3


class DeletionStore:
    """Deletes from the store of one service."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def mark(self, sweep_id: str, by: str, cause: str) -> Job:
        """Mark a sweep that has ended as one that is being deleted.

        Raises:
            SweepNotFoundError: no sweep has this id, or it is being deleted already.
            IllegalTransitionError: it has not ended.
            ConflictError: other sweeps wait for it.
        """
        with self._database.writing() as session:
            row = find_row(session, sweep_id, lock=True)
            state = JobState(row.state)
            if state is JobState.DELETING:
                raise SweepNotFoundError(f"no sweep {sweep_id!r}: it is being deleted")
            if not state.is_kept:
                raise IllegalTransitionError(
                    f"{sweep_id} is {state}; only a sweep that has ended can be deleted: "
                    f"`gapsweep cancel {sweep_id}` first"
                )
            _check_nothing_waits(session, sweep_id)
            transition(session, row, JobState.DELETING, cause, by, self._clock())
            return to_job(row)

    def list_marked(self, limit: int) -> tuple[Job, ...]:
        """Sweeps that are being deleted, the first marked first."""
        query = (
            select(SweepRow)
            .where(SweepRow.state == JobState.DELETING.value)
            .order_by(SweepRow.changed)
            .limit(limit)
        )
        with self._database.reading() as session:
            return tuple(to_job(row) for row in session.scalars(query))

    def list_ended(self, before: float, limit: int) -> tuple[str, ...]:
        """Sweeps that ended before a time and that none waits for, the first ended first."""
        ended = (SweepRow.state.in_(_KEPT), SweepRow.changed < before)
        query = select(SweepRow.id).where(*ended).order_by(SweepRow.changed)
        with self._database.reading() as session:
            needed = {other for _, after in _list_waiting(session) for other in after}
            free = [sweep_id for sweep_id in session.scalars(query) if sweep_id not in needed]
        return tuple(free[:limit])

    def is_announced(self, sweep_id: str) -> bool:
        """Whether every webhook has received, or given up, the sweep's last change of state."""
        last = (
            select(func.max(EventRow.id))
            .where(EventRow.sweep_id == sweep_id, EventRow.kind == StateChanged.kind)
            .scalar_subquery()
        )
        with self._database.reading() as session:
            return not session.scalar(select(exists().where(WebhookRow.event < last)))

    def forget(self, sweep_id: str) -> None:
        """Delete all rows of a sweep that is being deleted, its own row last.

        It may be interrupted and be repeated.
        """
        for table in _list_children():
            while self._delete_some(table, sweep_id):
                pass
        marked = (SweepRow.id == sweep_id, SweepRow.state == JobState.DELETING.value)
        with self._database.writing() as session:
            session.execute(delete(SweepRow).where(*marked))

    def _delete_some(self, table: Table, sweep_id: str) -> int:
        """Delete some rows of a table that belong to the sweep; how many."""
        key = tuple_(*table.primary_key.columns)
        (column,) = _find_references(table)
        some: Select[tuple[Any, ...]] = (
            select(*table.primary_key.columns).where(column == sweep_id).limit(_ROWS)
        )
        with self._database.writing() as session:
            return int(session.execute(delete(table).where(key.in_(some))).rowcount)  # type: ignore[attr-defined]  # of a DELETE it is a CursorResult

    def delete_unused_bundles(self, before: float) -> tuple[str, ...]:
        """Delete the rows of bundles last uploaded before a time that no sweep has; digests."""
        unused = ~exists().where(SweepRow.bundle == BundleRow.digest)
        query = select(BundleRow.digest).where(BundleRow.created < before, unused)
        with self._database.writing() as session:
            found = tuple(session.scalars(query.with_for_update()))
            session.execute(delete(BundleRow).where(BundleRow.digest.in_(found)))
        return found

    def list_bundles(self) -> Collection[str]:
        """The digests of all bundles."""
        with self._database.reading() as session:
            return frozenset(session.scalars(select(BundleRow.digest)))


def _list_waiting(session: Session) -> list[tuple[str, list[str]]]:
    """The sweeps that have not ended, and the sweeps that each waits for."""
    query = select(SweepRow.id, SweepRow.after).where(SweepRow.state.not_in(_OVER))
    return [(sweep_id, list(after)) for sweep_id, after in session.execute(query)]


def _check_nothing_waits(session: Session, sweep_id: str) -> None:
    waiting = [found for found, after in _list_waiting(session) if sweep_id in after]
    if waiting:
        shown = ", ".join(waiting[:_SHOWN])
        more = f" and {len(waiting) - _SHOWN} more" if len(waiting) > _SHOWN else ""
        raise ConflictError(
            f"{sweep_id} cannot be deleted: {shown}{more} start after it; cancel them first"
        )


def _list_children() -> list[Table]:
    """Every table whose rows belong to a sweep, one that others refer to after them."""
    tables = reversed(Base.metadata.sorted_tables)
    return [table for table in tables if _find_references(table)]


def _find_references(table: Table) -> list[Column[Any]]:
    """The columns of a table that refer to a sweep."""
    sweep = Base.metadata.tables[SweepRow.__tablename__].c.id
    return [c for c in table.columns if any(key.column is sweep for key in c.foreign_keys)]
