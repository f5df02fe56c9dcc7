"""Submitted sweeps: their states and what people wish of them. Every change leaves its trace."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import Select, and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.base.errors import IllegalChangeError, InputError
from service.server.store.database import Database
from service.server.store.job_records import Job, Page, Standing, Submission, Transition, Wish
from service.server.store.states import JobState
from service.server.store.tables import EventRow, SweepRow, TransitionRow
from service.server.store.transitions import bring, row_in_turn, row_of, trace


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
                    return job_of(known)
                for other in submission.after:
                    row_of(session, other)
                row = self._new_row(submission)
                session.add(row)
                session.flush()  # its trace refers to it
                trace(session, row, None, "submitted", submission.owner)
                return job_of(row)
        except IntegrityError:  # the same key, at the same time
            with self._database.writing() as session:
                known = self._of_key(session, submission.owner, key)
                if known is None:
                    raise
                return job_of(known)

    def get(self, sweep_id: str) -> Job:
        """One sweep.

        Raises:
            SweepNotFoundError: there is none of that id.
        """
        with self._database.reading() as session:
            return job_of(row_of(session, sweep_id))

    def standing(self, sweep_id: str) -> Standing:
        """One sweep with every change of its state.

        Raises:
            SweepNotFoundError: there is none of that id.
        """
        newest = select(func.max(EventRow.id)).where(EventRow.sweep_id == sweep_id)
        with self._database.reading() as session:
            last = session.scalar(newest) or 0  # first: what comes later is told as events
            job = job_of(row_of(session, sweep_id))
            return Standing(job=job, history=_history(session, sweep_id), last_event=last)

    def page(
        self,
        *,
        owner: str | None = None,
        states: Collection[JobState] = (),
        name: str | None = None,
        prefix: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Job]:
        """Sweeps, the newest first, from where ``cursor`` says; ``prefix`` begins their ids.

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
        if prefix is not None:
            query = query.where(func.substr(SweepRow.id, 1, len(prefix)) == prefix)
        if cursor is not None:
            query = _after(query, cursor)
        with self._database.reading() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
        more = _cursor(rows[limit - 1]) if len(rows) > limit else None
        return Page(tuple(job_of(r) for r in rows[:limit]), more)

    def of_states(self, *states: JobState) -> tuple[Job, ...]:
        """Every sweep in one of some states, the oldest first."""
        query = (
            select(SweepRow)
            .where(SweepRow.state.in_([s.value for s in states]))
            .order_by(SweepRow.created, SweepRow.id)
        )
        with self._database.reading() as session:
            return tuple(job_of(r) for r in session.scalars(query))

    def change(self, sweep_id: str, new: JobState, cause: str, by: str, **columns: Any) -> Job:
        """Bring a sweep into a state, set ``columns`` with it, and leave the trace.

        Raises:
            SweepNotFoundError: there is none of that id.
            IllegalChangeError: there is no way from the state that it is in.
        """
        with self._database.writing() as session:
            row = row_of(session, sweep_id, lock=True)
            bring(session, row, new, cause, by, self._clock(), **columns)
            return job_of(row)

    def take_back(
        self, sweep_id: str, turn: int, new: JobState, cause: str, by: str, **columns: Any
    ) -> Job:
        """As :meth:`change`, of a sweep whose job of that turn does no more.

        Raises:
            SweepNotFoundError, IllegalChangeError: as :meth:`change`.
            StaleDriverError: its driver, or somebody else, was faster.
        """
        with self._database.writing() as session:
            row = row_in_turn(session, sweep_id, turn)
            bring(session, row, new, cause, by, self._clock(), **columns)
            return job_of(row)

    def want(self, sweep_id: str, wish: Wish, by: str) -> Job:
        """Note what a user wants of a sweep that is on the cluster; a cancel outdoes a pause.

        A sweep that is to pause is pausing from here on.

        Raises:
            SweepNotFoundError: there is none of that id.
            IllegalChangeError: it is not on the cluster.
        """
        with self._database.writing() as session:
            row = row_of(session, sweep_id, lock=True)
            if not JobState(row.state).holds_a_job:
                raise IllegalChangeError(f"{sweep_id} is {row.state}, it is not on the cluster")
            if row.wish != Wish.CANCEL.value:
                row.wish, row.wished_by = wish.value, by
                if wish is Wish.PAUSE and row.state != JobState.PAUSING:
                    bring(session, row, JobState.PAUSING, "told to pause", by, self._clock())
            return job_of(row)

    def share(self, slots: Mapping[str, int]) -> None:
        """Tell drivers how many trials each may run at once, by its sweep's id."""
        with self._database.writing() as session:
            for sweep_id, count in sorted(slots.items()):
                session.execute(update(SweepRow).where(SweepRow.id == sweep_id).values(slots=count))

    def launched(self, sweep_id: str, turn: int) -> None:
        """Note that a job was handed to the cluster."""
        mine = (SweepRow.id == sweep_id) & (SweepRow.turn == turn)
        with self._database.writing() as session:
            session.execute(update(SweepRow).where(mine).values(launched=self._clock()))

    def history(self, sweep_id: str) -> tuple[Transition, ...]:
        """Every change of a sweep's state, in order."""
        with self._database.reading() as session:
            return _history(session, sweep_id)

    def used(self, since: float) -> Mapping[str, float]:
        """Slot-seconds that each owner has had, of sweeps heard of since then."""
        query = (
            select(SweepRow.owner, func.sum(SweepRow.slot_seconds))
            .where(SweepRow.heard >= since)
            .group_by(SweepRow.owner)
        )
        with self._database.reading() as session:
            return {owner: float(total) for owner, total in session.execute(query)}

    def counts(self) -> Mapping[JobState, int]:
        """How many sweeps are in each state."""
        query = select(SweepRow.state, func.count()).group_by(SweepRow.state)
        with self._database.reading() as session:
            found = {JobState(state): int(count) for state, count in session.execute(query)}
        return {state: found.get(state, 0) for state in JobState}

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


def job_of(row: SweepRow) -> Job:
    """The record of a row."""
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
        slots=row.slots,
        launched=row.launched,
        heard=row.heard,
        slot_seconds=row.slot_seconds,
        gpu_hours=row.gpu_hours,
        progress=row.progress,
    )


def _history(session: Session, sweep_id: str) -> tuple[Transition, ...]:
    mine = TransitionRow.sweep_id == sweep_id
    query = select(TransitionRow).where(mine).order_by(TransitionRow.id)
    return tuple(_transition(r) for r in session.scalars(query))


def _transition(row: TransitionRow) -> Transition:
    old = None if row.old is None else JobState(row.old)
    return Transition(time=row.time, old=old, new=JobState(row.new), cause=row.cause, by=row.by)
