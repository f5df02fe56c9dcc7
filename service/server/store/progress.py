"""What drivers tell of their sweeps: trials, epochs, events. Told twice, it is the same."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.base.errors import TrialNotFoundError
from service.server.store.database import Database, insert_new, upsert
from service.server.store.job_records import Event, Happening, Instructions, Told, Wish
from service.server.store.states import JobState
from service.server.store.tables import EpochRow, EventRow, SweepRow, TrialRow
from service.server.store.transitions import bring, row_in_turn, row_of
from service.study.records import Epoch, Role, Trial, TrialState

DRIVER = "driver"

_FACTS = ("params", "best", "stopped_epoch", "violation", "reason", "confirms", "seed", "ran_on")


class Progress:
    """Trials, epochs and events of every sweep."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def tell(self, sweep_id: str, turn: int, told: Told) -> Instructions:
        """Take what the driver of a sweep's ``turn`` has to tell, all of it or nothing.

        A sweep that was starting runs from here on.

        Raises:
            SweepNotFoundError: there is none of that id.
            StaleDriverError: the sweep is no longer that driver's.
        """
        now = self._clock()
        with self._database.writing() as session:
            row = row_in_turn(session, sweep_id, turn)  # locked: events are numbered in order
            if row.state == JobState.STARTING:
                bring(session, row, JobState.RUNNING, "its driver was heard", DRIVER, now)
            _write(session, row, told, now)
            wish = None if row.wish is None else Wish(row.wish)
            return Instructions(wish=wish, slots=row.slots)

    def end(self, sweep_id: str, turn: int, told: Told, new: JobState, cause: str) -> None:
        """Take a driver's last words, and the state that its sweep ended in.

        Raises:
            SweepNotFoundError: there is none of that id.
            StaleDriverError: the sweep is no longer that driver's.
            IllegalChangeError: it cannot end so.
        """
        now = self._clock()
        with self._database.writing() as session:
            row = row_in_turn(session, sweep_id, turn)
            _write(session, row, told, now)
            bring(session, row, new, cause, row.wished_by or DRIVER, now)

    def trials(self, sweep_id: str) -> tuple[Trial, ...]:
        """A sweep's trials by number, without their epochs.

        Raises:
            SweepNotFoundError: there is no sweep of that id.
        """
        query = select(TrialRow).where(TrialRow.sweep_id == sweep_id).order_by(TrialRow.number)
        with self._database.reading() as session:
            found = tuple(_trial(r) for r in session.scalars(query))
            if not found:
                row_of(session, sweep_id)
            return found

    def trial(self, sweep_id: str, number: int) -> Trial:
        """One trial with its epochs.

        Raises:
            TrialNotFoundError: there is none of that number.
        """
        query = (
            select(EpochRow)
            .where(EpochRow.sweep_id == sweep_id, EpochRow.trial == number)
            .order_by(EpochRow.epoch)
        )
        with self._database.reading() as session:
            row = session.get(TrialRow, (sweep_id, number))
            if row is None:
                raise TrialNotFoundError(f"{sweep_id} has no trial {number}")
            return _trial(row, tuple(_epoch(e) for e in session.scalars(query)))

    def events(self, sweep_id: str, after: int = 0, limit: int = 500) -> tuple[Event, ...]:
        """Events of a sweep whose number is above ``after``, in order."""
        query = (
            select(EventRow)
            .where(EventRow.sweep_id == sweep_id, EventRow.id > after)
            .order_by(EventRow.id)
            .limit(limit)
        )
        with self._database.reading() as session:
            return tuple(event_of(r) for r in session.scalars(query))


def _write(session: Session, row: SweepRow, told: Told, now: float) -> None:
    upsert(session, TrialRow, [_trial_row(row.id, t) for t in told.trials], ("sweep_id", "number"))
    points = [_epoch_row(row.id, e) for e in told.epochs]
    upsert(session, EpochRow, points, ("sweep_id", "trial", "epoch"))
    events = [_event_row(row.id, h, now) for h in told.happenings]
    insert_new(session, EventRow, events, ("sweep_id", "key"))
    row.heard = now
    for name in ("progress", "slot_seconds", "gpu_hours"):
        value = getattr(told, name)
        if value is not None:
            setattr(row, name, _written(value))


def _event_row(sweep_id: str, happening: Happening, now: float) -> dict[str, Any]:
    return {
        "sweep_id": sweep_id,
        "time": now,
        "kind": happening.kind,
        "key": happening.key,
        "data": _written(happening.data),
    }


def _written(value: Any) -> Any:
    """As JSON holds it, which knows no NaN: such a number is written as a word."""
    if isinstance(value, Mapping):
        return {k: _written(v) for k, v in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _trial_row(sweep_id: str, trial: Trial) -> dict[str, Any]:
    facts = {name: getattr(trial, name) for name in _FACTS}
    return {
        "sweep_id": sweep_id,
        "number": trial.number,
        "state": trial.state.value,
        "role": trial.role.value,
        "value": trial.value,
        "seconds": trial.seconds,
        "ended": trial.ended,
        "facts": {k: _written(v) for k, v in facts.items()},
    }


def _trial(row: TrialRow, epochs: tuple[Epoch, ...] = ()) -> Trial:
    return Trial(
        number=row.number,
        state=TrialState(row.state),
        role=Role(row.role),
        value=row.value,
        seconds=row.seconds,
        ended=row.ended,
        epochs=epochs,
        **{**row.facts, "best": _floats(row.facts["best"])},
    )


def _epoch_row(sweep_id: str, epoch: Epoch) -> dict[str, Any]:
    return {
        "sweep_id": sweep_id,
        "trial": epoch.trial,
        "epoch": epoch.epoch,
        "time": epoch.time,
        "metrics": _written(epoch.metrics),
    }


def _epoch(row: EpochRow) -> Epoch:
    return Epoch(trial=row.trial, epoch=row.epoch, time=row.time, metrics=_floats(row.metrics))


def event_of(row: EventRow) -> Event:
    """The record of a row."""
    return Event(number=row.id, sweep_id=row.sweep_id, time=row.time, kind=row.kind, data=row.data)
