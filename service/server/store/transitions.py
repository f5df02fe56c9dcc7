"""How a sweep's row comes from one state into another, inside a transaction of the caller's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from service.base.errors import IllegalChangeError, StaleDriverError, SweepNotFoundError
from service.server.store.states import LEGAL, JobState, may_become
from service.server.store.tables import EventRow, SweepRow, TransitionRow

STATE_CHANGED = "state changed"
_CHANGES = 0x67617073  # of PostgreSQL's advisory locks the one that is for this


def row_of(session: Session, sweep_id: str, *, lock: bool = False) -> SweepRow:
    """A sweep's row, for this transaction alone if it is to be locked.

    Raises:
        SweepNotFoundError: there is none of that id.
    """
    row = session.get(SweepRow, sweep_id, with_for_update=lock)
    if row is None:
        raise SweepNotFoundError(f"there is no sweep {sweep_id!r}")
    return row


def row_in_turn(session: Session, sweep_id: str, turn: int) -> SweepRow:
    """A sweep's row, for this transaction alone, while the job of that turn may be on the cluster.

    Raises:
        SweepNotFoundError: there is none of that id.
        StaleDriverError: it has ended, waits, or is in another turn.
    """
    row = row_of(session, sweep_id, lock=True)
    if row.turn != turn or not JobState(row.state).holds_a_job:
        raise StaleDriverError(f"{sweep_id} is {row.state} in turn {row.turn}, not in {turn}")
    return row


def bring(
    session: Session, row: SweepRow, new: JobState, cause: str, by: str, now: float, **columns: Any
) -> None:
    """Bring a sweep into a state, set ``columns`` with it, and leave the trace.

    Raises:
        IllegalChangeError: there is no way from the state that it is in.
    """
    old = JobState(row.state)
    if not may_become(old, new):
        valid = ", ".join(sorted(LEGAL[old])) or "nothing"
        raise IllegalChangeError(
            f"{row.id} is {old} and cannot become {new}; from there it may become {valid}"
        )
    row.state, row.changed, row.cause = new.value, now, cause
    for name, value in columns.items():
        setattr(row, name, value)
    if not new.holds_a_job:
        row.wish = row.wished_by = row.slots = None
    trace(session, row, old, cause, by)


def trace(session: Session, row: SweepRow, old: JobState | None, cause: str, by: str) -> None:
    """The change in the history, and as an event."""
    before = None if old is None else old.value
    _in_order(session)
    session.add(
        TransitionRow(
            sweep_id=row.id, time=row.changed, old=before, new=row.state, cause=cause, by=by
        )
    )
    data = {"old": before, "new": row.state, "cause": cause, "by": by}
    session.add(EventRow(sweep_id=row.id, time=row.changed, kind=STATE_CHANGED, data=data))


def _in_order(session: Session) -> None:
    """Let changes of all sweeps be numbered in the order in which they are seen.

    PostgreSQL gives numbers before it commits; whoever follows them would miss a late one.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHANGES})
