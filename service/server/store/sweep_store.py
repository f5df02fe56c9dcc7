"""Submitted sweeps: their states, their histories, and the actions requested of them."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.base.errors import (
    IdempotencyError,
    IllegalTransitionError,
    InputError,
    SweepNotFoundError,
)
from service.client.job_states import JobState, RequestedAction
from service.server.store.database import Database, in_parts
from service.server.store.job_records import (
    Job,
    Page,
    QueuedSweep,
    Submission,
    SweepWithHistory,
    Transition,
)
from service.server.store.tables import EventRow, SweepRow, TransitionRow
from service.server.store.transitions import (
    find_active_row,
    find_row,
    record_transition,
    transition,
)


class SweepStore:
    """The sweeps of one service."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def submit(self, submission: Submission) -> Job:
        """Queue a sweep; if its owner used the idempotency key before, return that sweep.

        Raises:
            SweepNotFoundError: ``after`` names a sweep that does not exist.
            IdempotencyError: the owner used the key for another submission.
        """
        key = submission.idempotency_key
        try:
            with self._database.writing() as session:
                known = self._find_by_key(session, submission.owner, key)
                if known is not None:
                    return _check_same(to_job(known), submission)
                for other in submission.after:
                    if JobState(find_row(session, other).state) is JobState.DELETING:
                        raise SweepNotFoundError(f"no sweep {other!r}: it is being deleted")
                row = self._new_row(submission)
                session.add(row)
                session.flush()  # the transition refers to it
                record_transition(session, row, None, "submitted", submission.owner)
                return to_job(row)
        except IntegrityError:  # the same key, at the same time
            with self._database.writing() as session:
                known = self._find_by_key(session, submission.owner, key)
                if known is None:
                    raise
                return _check_same(to_job(known), submission)

    def get(self, sweep_id: str) -> Job:
        """One sweep.

        Raises:
            SweepNotFoundError: no sweep has this id.
        """
        with self._database.reading() as session:
            return to_job(find_row(session, sweep_id))

    def get_active(self, sweep_id: str, attempt: int) -> Job:
        """One sweep, if the job of this attempt may still be on the cluster.

        Raises:
            SweepNotFoundError: no sweep has this id.
            StaleDriverError: the attempt is over.
        """
        with self._database.reading() as session:
            return to_job(find_active_row(session, sweep_id, attempt, lock=False))

    def get_with_history(self, sweep_id: str) -> SweepWithHistory:
        """One sweep with every transition of its state.

        Raises:
            SweepNotFoundError: no sweep has this id.
        """
        newest = select(func.max(EventRow.id)).where(EventRow.sweep_id == sweep_id)
        with self._database.reading() as session:
            last = session.scalar(newest) or 0  # read first: later changes arrive as events
            job = to_job(find_row(session, sweep_id))
            return SweepWithHistory(job=job, history=_history(session, sweep_id), last_event=last)

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
        """A page of sweeps, the newest first; ``prefix`` selects by the beginning of the id.

        Raises:
            InputError: the cursor is invalid.
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
        return Page(tuple(to_job(r) for r in rows[:limit]), more)

    def in_states(self, *states: JobState) -> tuple[Job, ...]:
        """Every sweep in one of these states, the oldest first."""
        query = (
            select(SweepRow)
            .where(SweepRow.state.in_([s.value for s in states]))
            .order_by(SweepRow.created, SweepRow.id)
        )
        with self._database.reading() as session:
            return tuple(to_job(r) for r in session.scalars(query))

    def list_queued(self) -> tuple[tuple[str, float], ...]:
        """The id of every queued sweep, and since when it is queued."""
        query = select(SweepRow.id, SweepRow.changed).where(SweepRow.state == JobState.QUEUED.value)
        with self._database.reading() as session:
            return tuple((sweep_id, since) for sweep_id, since in session.execute(query))

    def list_stopped(self, since: float, until: float) -> frozenset[tuple[str, str, float]]:
        """Sweeps that ended or were paused between two times: id, state and when."""
        states = [s.value for s in JobState if s.is_kept or s is JobState.PAUSED]
        columns = (SweepRow.id, SweepRow.state, SweepRow.changed)
        when = (SweepRow.changed >= since, SweepRow.changed <= until)
        query = select(*columns).where(SweepRow.state.in_(states), *when)
        with self._database.reading() as session:
            return frozenset((found, state, time) for found, state, time in session.execute(query))

    def find_queued(self, sweep_ids: Collection[str]) -> tuple[QueuedSweep, ...]:
        """What the queue's order depends on, of those that exist; without their specs."""
        columns = (
            SweepRow.id,
            SweepRow.owner,
            SweepRow.changed,
            SweepRow.priority,
            SweepRow.after,
            SweepRow.failures,
            SweepRow.last_heartbeat,
        )
        with self._database.reading() as session:
            return tuple(
                QueuedSweep(*row)
                for some in in_parts(sweep_ids)
                for row in session.execute(select(*columns).where(SweepRow.id.in_(some)))
            )

    def find_states(self, sweep_ids: Collection[str]) -> Mapping[str, JobState]:
        """The states of some sweeps; those that do not exist are left out."""
        found: dict[str, JobState] = {}
        with self._database.reading() as session:
            for some in in_parts(sweep_ids):
                query = select(SweepRow.id, SweepRow.state).where(SweepRow.id.in_(some))
                found.update({i: JobState(s) for i, s in session.execute(query)})
        return found

    def change(self, sweep_id: str, new: JobState, cause: str, by: str, **columns: Any) -> Job:
        """Change a sweep's state, set ``columns`` as well, and record the transition.

        Raises:
            SweepNotFoundError: no sweep has this id.
            IllegalTransitionError: the current state does not allow this transition.
        """
        with self._database.writing() as session:
            row = find_row(session, sweep_id, lock=True)
            transition(session, row, new, cause, by, self._clock(), **columns)
            return to_job(row)

    def end_attempt(
        self, sweep_id: str, attempt: int, new: JobState, cause: str, by: str, **columns: Any
    ) -> Job:
        """Like :meth:`change`, if this attempt has not ended in the meantime.

        Raises:
            SweepNotFoundError, IllegalTransitionError: as :meth:`change`.
            StaleDriverError: the driver or another process ended the attempt first.
        """
        with self._database.writing() as session:
            row = find_active_row(session, sweep_id, attempt)
            transition(session, row, new, cause, by, self._clock(), **columns)
            return to_job(row)

    def request(self, sweep_id: str, action: RequestedAction, by: str) -> Job:
        """Request an action of a sweep that is on the cluster; a cancel replaces a pause.

        A sweep that is asked to pause is pausing from now on.

        Raises:
            SweepNotFoundError: no sweep has this id.
            IllegalTransitionError: the sweep is not on the cluster.
        """
        with self._database.writing() as session:
            row = find_row(session, sweep_id, lock=True)
            if not JobState(row.state).is_active:
                raise IllegalTransitionError(f"{sweep_id} is {row.state}; it is not on the cluster")
            if row.requested_action != RequestedAction.CANCEL.value:
                row.requested_action, row.requested_by = action.value, by
                if action is RequestedAction.PAUSE and row.state != JobState.PAUSING:
                    cause = "pause requested"
                    transition(session, row, JobState.PAUSING, cause, by, self._clock())
            return to_job(row)

    def set_slots(self, slots: Mapping[str, int]) -> None:
        """Set how many trials each sweep may run at the same time, by its id."""
        with self._database.writing() as session:
            for sweep_id, count in sorted(slots.items()):
                session.execute(update(SweepRow).where(SweepRow.id == sweep_id).values(slots=count))

    def record_launch(self, sweep_id: str, attempt: int) -> None:
        """Record that the attempt's job was submitted to the cluster."""
        mine = (SweepRow.id == sweep_id) & (SweepRow.attempt == attempt)
        with self._database.writing() as session:
            session.execute(update(SweepRow).where(mine).values(launched=self._clock()))

    def history(self, sweep_id: str) -> tuple[Transition, ...]:
        """Every transition of a sweep's state, in order."""
        with self._database.reading() as session:
            return _history(session, sweep_id)

    def usage(self, since: float) -> Mapping[str, float]:
        """Slot-seconds by owner, over the sweeps whose last heartbeat is not before ``since``."""
        query = (
            select(SweepRow.owner, func.sum(SweepRow.slot_seconds))
            .where(SweepRow.last_heartbeat >= since)
            .group_by(SweepRow.owner)
        )
        with self._database.reading() as session:
            return {owner: float(total) for owner, total in session.execute(query)}

    def counts(self) -> Mapping[JobState, int]:
        """How many sweeps are in each state."""
        return self._count()

    def count_of(self, owner: str) -> Mapping[JobState, int]:
        """How many sweeps of a user are in each state."""
        return self._count(SweepRow.owner == owner)

    def _count(self, *which: ColumnElement[bool]) -> Mapping[JobState, int]:
        query = select(SweepRow.state, func.count()).where(*which).group_by(SweepRow.state)
        with self._database.reading() as session:
            found = {JobState(state): int(count) for state, count in session.execute(query)}
        return {state: found.get(state, 0) for state in JobState}

    def _find_by_key(self, session: Session, owner: str, key: str | None) -> SweepRow | None:
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
            attempt=0,
            failures=0,
            more_trials=0,
            slot_seconds=0.0,
            gpu_hours=0.0,
            progress={},
            accept_changes=False,
            wider={},
        )


def _check_same(known: Job, submission: Submission) -> Job:
    """The sweep of an idempotency key, if it was submitted as this one is.

    Raises:
        IdempotencyError: it was not.
    """
    same = ("name", "spec", "priority", "after", "bundle")
    other = [name for name in same if getattr(known, name) != getattr(submission, name)]
    if other:
        differ = "differs" if len(other) == 1 else "differ"
        raise IdempotencyError(
            f"the idempotency key {submission.idempotency_key!r} was used for {known.sweep_id}, "
            f"whose {' and '.join(other)} {differ}; use another key for another submission"
        )
    return known


def _after(query: Select[SweepRow], cursor: str) -> Select[SweepRow]:
    """The query's part behind a cursor of :func:`_cursor`."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
        created, _, sweep_id = text.partition(" ")
        when = float(created)
    except (ValueError, binascii.Error):
        raise InputError(f"invalid cursor {cursor!r}; use one that a list returned") from None
    before = and_(SweepRow.created == when, SweepRow.id < sweep_id)
    return query.where(or_(SweepRow.created < when, before))


def _cursor(row: SweepRow) -> str:
    return base64.urlsafe_b64encode(f"{row.created!r} {row.id}".encode()).decode()


def to_job(row: SweepRow) -> Job:
    """The record of a row."""
    action = row.requested_action
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
        requested_action=None if action is None else RequestedAction(action),
        requested_by=row.requested_by,
        cause=row.cause,
        attempt=row.attempt,
        failures=row.failures,
        more_trials=row.more_trials,
        slots=row.slots,
        launched=row.launched,
        last_heartbeat=row.last_heartbeat,
        slot_seconds=row.slot_seconds,
        gpu_hours=row.gpu_hours,
        progress=row.progress,
        accept_changes=row.accept_changes,
        wider=row.wider,
        size=row.size,
    )


def _history(session: Session, sweep_id: str) -> tuple[Transition, ...]:
    mine = TransitionRow.sweep_id == sweep_id
    query = select(TransitionRow).where(mine).order_by(TransitionRow.id)
    return tuple(_to_transition(r) for r in session.scalars(query))


def _to_transition(row: TransitionRow) -> Transition:
    old = None if row.old is None else JobState(row.old)
    return Transition(time=row.time, old=old, new=JobState(row.new), cause=row.cause, by=row.by)
