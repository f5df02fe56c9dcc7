"""State transitions of a sweep's row, inside the caller's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from service.base.errors import IllegalTransitionError, StaleDriverError, SweepNotFoundError
from service.client.job_states import JobState
from service.client.sweep_events import StateChanged
from service.server.store.event_rows import to_values
from service.server.store.state_machine import LEGAL, is_legal
from service.server.store.tables import EventRow, SweepRow, TransitionRow

_LOCK_KEY = 0x67617073  # of PostgreSQL's advisory lock for numbering events


def find_row(session: Session, sweep_id: str, *, lock: bool = False) -> SweepRow:
    """A sweep's row; with ``lock`` no other transaction can change it until this one ends.

    Raises:
        SweepNotFoundError: no sweep has this id.
    """
    row = session.get(SweepRow, sweep_id, with_for_update=lock)
    if row is None:
        raise SweepNotFoundError(f"no sweep {sweep_id!r}")
    return row


def find_active_row(
    session: Session, sweep_id: str, attempt: int, *, lock: bool = True
) -> SweepRow:
    """A sweep's row, locked, if the job of this attempt may still be on the cluster.

    Raises:
        SweepNotFoundError: no sweep has this id.
        StaleDriverError: the sweep is not active, or a later attempt has started.
    """
    row = find_row(session, sweep_id, lock=lock)
    if row.attempt != attempt or not JobState(row.state).is_active:
        raise StaleDriverError(
            f"{sweep_id} is {row.state} in attempt {row.attempt}; attempt {attempt} is over"
        )
    return row


def transition(
    session: Session, row: SweepRow, new: JobState, cause: str, by: str, now: float, **columns: Any
) -> None:
    """Change a sweep's state, set ``columns`` as well, and record the transition.

    Raises:
        IllegalTransitionError: the current state does not allow this transition.
    """
    old = JobState(row.state)
    if not is_legal(old, new):
        valid = ", ".join(sorted(LEGAL[old])) or "none"
        raise IllegalTransitionError(
            f"{row.id} is {old} and cannot become {new}; allowed next states: {valid}"
        )
    row.state, row.changed, row.cause = new.value, now, cause
    for name, value in columns.items():
        setattr(row, name, value)
    if not new.is_active:
        row.requested_action = row.requested_by = row.slots = None
    record_transition(session, row, old, cause, by)


def record_transition(
    session: Session, row: SweepRow, old: JobState | None, cause: str, by: str
) -> None:
    """Add the row's new state to the sweep's history and to its events."""
    before = None if old is None else old.value
    _serialise_numbering(session)
    session.add(
        TransitionRow(
            sweep_id=row.id, time=row.changed, old=before, new=row.state, cause=cause, by=by
        )
    )
    event = StateChanged(time=row.changed, old=old, new=JobState(row.state), cause=cause, by=by)
    session.add(EventRow(**to_values(row.id, event, row.changed)))


def _serialise_numbering(session: Session) -> None:
    """Number the state changes of all sweeps in the order in which they are committed.

    PostgreSQL assigns a number before the commit; a reader that follows the numbers would miss an
    event that is committed late.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
