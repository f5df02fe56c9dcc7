"""Submitted sweeps: their states and what people wish of them. Every change leaves its trace."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import Select, and_, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import (
    IllegalChangeError,
    InputError,
    SweepNotFoundError,
)
from service.store.database import Database
from service.store.records import Job, Page, Submission, Transition, Wish
from service.store.states import LEGAL, JobState, may_become
from service.store.tables import EventRow, SweepRow, TransitionRow

STATE_CHANGED = "state changed"


class Sweeps:
    """The sweeps of one service."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def submit(self, submission: Submission) -> Job:
        """Queue a sweep; with an idempotency key that its owner used before, the sweep of then.

        Raises:
            SweepNotFoundError: a sweep that it is to wait for is not there.
        """
        key = submission.idempotency_key
        try:
            with self._database.writing() as session:
                known = self._of_key(session, submission.owner, key)
                if known is not None:
                    return _job(known)
                for other in submission.after:
                    self._row(session, other)
                row = self._new_row(submission)
                session.add(row)
                session.flush()  # its trace refers to it
                self._trace(session, row, None, "submitted", submission.owner)
                return _job(row)
        except IntegrityError:  # the same key, at the same time
            with self._database.writing() as session:
                known = self._of_key(session, submission.owner, key)
                if known is None:
                    raise
                return _job(known)

    def get(self, sweep_id: str) -> Job:
        """One sweep.

        Raises:
            SweepNotFoundError: there is none of that id.
        """
        with self._database.reading() as session:
            return _job(self._row(session, sweep_id))

    def page(
        self,
        *,
        owner: str | None = None,
        states: Collection[JobState] = (),
        name: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Job]:
        """Sweeps, the newest first, from where ``cursor`` says.

        Raises:
            InputError: the cursor is none of this list's.
        """
        query = select(SweepRow).order_by(SweepRow.created.desc(), SweepRow.id.desc())
        if owner is not None:
            query = query.where(SweepRow.owner == owner)
        if states:
            query = query.where(SweepRow.state.in_([s.value for s in states]))
        if name is not None:
            query = query.where(SweepRow.name == name)
        if cursor is not None:
            query = _after(query, cursor)
        with self._database.reading() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
        more = _cursor(rows[limit - 1]) if len(rows) > limit else None
        return Page(tuple(_job(r) for r in rows[:limit]), more)

    def of_states(self, *states: JobState) -> tuple[Job, ...]:
        """Every sweep in one of some states, the oldest first."""
        query = (
            select(SweepRow)
            .where(SweepRow.state.in_([s.value for s in states]))
            .order_by(SweepRow.created, SweepRow.id)
        )
        with self._database.reading() as session:
            return tuple(_job(r) for r in session.scalars(query))

    def change(self, sweep_id: str, new: JobState, cause: str, by: str, **columns: Any) -> Job:
        """Bring a sweep into a state, set ``columns`` with it, and leave the trace.

        Raises:
            SweepNotFoundError: there is none of that id.
            IllegalChangeError: there is no way from the state that it is in.
        """
        with self._database.writing() as session:
            row = self._row(session, sweep_id, lock=True)
            old = JobState(row.state)
            if not may_become(old, new):
                valid = ", ".join(sorted(LEGAL[old])) or "nothing"
                raise IllegalChangeError(
                    f"{sweep_id} is {old} and cannot become {new}; from there it may become {valid}"
                )
            row.state, row.changed, row.cause = new.value, self._clock(), cause
            for name, value in columns.items():
                setattr(row, name, value)
            if not new.holds_a_job:
                row.wish = row.wished_by = None
            self._trace(session, row, old, cause, by)
            return _job(row)

    def want(self, sweep_id: str, wish: Wish, by: str) -> Job:
        """Note what a user wants of a sweep that is on the cluster; a cancel outdoes a pause.

        Raises:
            SweepNotFoundError: there is none of that id.
            IllegalChangeError: it is not on the cluster.
        """
        with self._database.writing() as session:
            row = self._row(session, sweep_id, lock=True)
            if not JobState(row.state).holds_a_job:
                raise IllegalChangeError(f"{sweep_id} is {row.state}, it is not on the cluster")
            if row.wish != Wish.CANCEL.value:
                row.wish, row.wished_by = wish.value, by
            return _job(row)

    def heard(self, sweep_id: str, **columns: Any) -> None:
        """A sign of life of a sweep's driver, with what it tells of the sweep."""
        values = {"heard": self._clock(), **columns}
        with self._database.writing() as session:
            session.execute(update(SweepRow).where(SweepRow.id == sweep_id).values(values))

    def history(self, sweep_id: str) -> tuple[Transition, ...]:
        """Every change of a sweep's state, in order."""
        query = (
            select(TransitionRow)
            .where(TransitionRow.sweep_id == sweep_id)
            .order_by(TransitionRow.id)
        )
        with self._database.reading() as session:
            return tuple(_transition(r) for r in session.scalars(query))

    def used(self) -> Mapping[str, float]:
        """Slot-seconds that each owner has had, over all sweeps."""
        from sqlalchemy import func

        query = select(SweepRow.owner, func.sum(SweepRow.slot_seconds)).group_by(SweepRow.owner)
        with self._database.reading() as session:
            return {owner: float(total) for owner, total in session.execute(query)}

    def _row(self, session: Session, sweep_id: str, *, lock: bool = False) -> SweepRow:
        row = session.get(SweepRow, sweep_id, with_for_update=lock)
        if row is None:
            raise SweepNotFoundError(f"there is no sweep {sweep_id!r}")
        return row

    def _of_key(self, session: Session, owner: str, key: str | None) -> SweepRow | None:
        if key is None:
            return None
        query = select(SweepRow).where(SweepRow.owner == owner, SweepRow.idempotency_key == key)
        return session.scalars(query).first()

    def _new_row(self, submission: Submission) -> SweepRow:
        now = self._clock()
        return SweepRow(
            id=submission.sweep_id,
            name=submission.name,
            owner=submission.owner,
            state=JobState.QUEUED.value,
            created=now,
            changed=now,
            spec=submission.spec,
            priority=submission.priority,
            after=list(submission.after),
            bundle=submission.bundle,
            idempotency_key=submission.idempotency_key,
            turn=0,
            failures=0,
            more_trials=0,
            slot_seconds=0.0,
            gpu_hours=0.0,
            progress={},
        )

    def _trace(
        self, session: Session, row: SweepRow, old: JobState | None, cause: str, by: str
    ) -> None:
        """The change in the history, and as an event."""
        before = None if old is None else old.value
        now = row.changed
        session.add(
            TransitionRow(sweep_id=row.id, time=now, old=before, new=row.state, cause=cause, by=by)
        )
        data = {"old": before, "new": row.state, "cause": cause, "by": by}
        session.add(EventRow(sweep_id=row.id, time=now, kind=STATE_CHANGED, data=data))


def _after(query: Select[SweepRow], cursor: str) -> Select[SweepRow]:
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
        created, _, sweep_id = text.partition(" ")
        when = float(created)
    except (ValueError, binascii.Error):
        raise InputError(f"cursor: {cursor!r} is none that a list gave out") from None
    before = and_(SweepRow.created == when, SweepRow.id < sweep_id)
    return query.where(or_(SweepRow.created < when, before))


def _cursor(row: SweepRow) -> str:
    return base64.urlsafe_b64encode(f"{row.created!r} {row.id}".encode()).decode()


def _job(row: SweepRow) -> Job:
    return Job(
        sweep_id=row.id,
        name=row.name,
        owner=row.owner,
        state=JobState(row.state),
        created=row.created,
        changed=row.changed,
        spec=row.spec,
        priority=row.priority,
        after=tuple(row.after),
        bundle=row.bundle,
        wish=None if row.wish is None else Wish(row.wish),
        wished_by=row.wished_by,
        cause=row.cause,
        turn=row.turn,
        failures=row.failures,
        more_trials=row.more_trials,
        heard=row.heard,
        slot_seconds=row.slot_seconds,
        gpu_hours=row.gpu_hours,
        progress=row.progress,
    )


def _transition(row: TransitionRow) -> Transition:
    old = None if row.old is None else JobState(row.old)
    return Transition(time=row.time, old=old, new=JobState(row.new), cause=row.cause, by=row.by)
