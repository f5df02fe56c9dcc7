"""What drivers tell of their sweeps: trials, epochs, events. Told twice, it is the same."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from service.errors import TrialNotFoundError
from service.records import Epoch, Role, Trial, TrialState
from service.store.database import Database, upsert
from service.store.records import Event
from service.store.tables import EpochRow, EventRow, SweepRow, TrialRow

_FACTS = ("params", "best", "stopped_epoch", "violation", "reason", "confirms", "seed", "ran_on")


class Progress:
    """Trials, epochs and events of every sweep."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def tell(
        self,
        sweep_id: str,
        *,
        trials: Sequence[Trial] = (),
        epochs: Sequence[Epoch] = (),
        events: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> None:
        """Take what a driver has to tell, all of it or nothing."""
        now = self._clock()
        with self._database.writing() as session:
            session.get(SweepRow, sweep_id, with_for_update=True)  # events are numbered in order
            rows = [_trial_row(sweep_id, t) for t in trials]
            upsert(session, TrialRow, rows, ("sweep_id", "number"))
            points = [_epoch_row(sweep_id, e) for e in epochs]
            upsert(session, EpochRow, points, ("sweep_id", "trial", "epoch"))
            session.add_all(
                EventRow(sweep_id=sweep_id, time=now, kind=kind, data=dict(data))
                for kind, data in events
            )

    def trials(self, sweep_id: str) -> tuple[Trial, ...]:
        """A sweep's trials by number, without their epochs."""
        query = select(TrialRow).where(TrialRow.sweep_id == sweep_id).order_by(TrialRow.number)
        with self._database.reading() as session:
            return tuple(_trial(r) for r in session.scalars(query))

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
            return tuple(_event(r) for r in session.scalars(query))


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


def _event(row: EventRow) -> Event:
    return Event(number=row.id, sweep_id=row.sweep_id, time=row.time, kind=row.kind, data=row.data)
