"""What drivers report of their sweeps: trials, epochs, events. Recording is idempotent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.base.errors import TrialNotFoundError
from service.base.storable import make_storable
from service.client.job_states import JobState, RequestedAction
from service.server.store.cost_store import write_cost
from service.server.store.database import Database, in_parts, insert_new, upsert
from service.server.store.event_rows import to_event, to_values
from service.server.store.job_records import DriverReport, Instructions, StoredEvent, SweepNews
from service.server.store.tables import EpochRow, EventRow, SweepRow, TrialRow
from service.server.store.transitions import find_active_row, find_row, transition
from service.study.records import Epoch, Role, Trial, TrialState

DRIVER = "driver"

_FACTS = (
    "params",
    "best",
    "control",
    "stopped_epoch",
    "violation",
    "reason",
    "confirms",
    "seed",
    "replicate",
    "without",
    "redraws_test",
    "not_acting",
    "folds",
    "ran_on",
)
_METRICS = ("best", "control")


class ProgressStore:
    """Trials, epochs and events of every sweep."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def record(self, sweep_id: str, attempt: int, report: DriverReport) -> Instructions:
        """Record a driver's report, all of it or nothing; a heartbeat of the driver.

        A sweep that was starting is running from now on.

        Raises:
            SweepNotFoundError: no sweep has this id.
            StaleDriverError: this attempt is over.
        """
        now = self._clock()
        with self._database.writing() as session:
            row = find_active_row(session, sweep_id, attempt)  # locked: events keep their order
            if row.state == JobState.STARTING:
                transition(
                    session, row, JobState.RUNNING, "its driver sent a heartbeat", DRIVER, now
                )
            _write(session, row, report, now)
            action = row.requested_action
            return Instructions(
                requested_action=None if action is None else RequestedAction(action),
                slots=row.slots,
            )

    def end(
        self, sweep_id: str, attempt: int, report: DriverReport, new: JobState, cause: str
    ) -> None:
        """Record a driver's last report and the state in which its sweep ended.

        Raises:
            SweepNotFoundError: no sweep has this id.
            StaleDriverError: this attempt is over.
            IllegalTransitionError: the sweep's state does not allow this end.
        """
        now = self._clock()
        with self._database.writing() as session:
            row = find_active_row(session, sweep_id, attempt)
            _write(session, row, report, now)
            transition(session, row, new, make_storable(cause), row.requested_by or DRIVER, now)

    def trials(self, sweep_id: str) -> tuple[Trial, ...]:
        """A sweep's trials by number, without their epochs.

        Raises:
            SweepNotFoundError: no sweep has this id.
        """
        query = select(TrialRow).where(TrialRow.sweep_id == sweep_id).order_by(TrialRow.number)
        with self._database.reading() as session:
            found = tuple(_to_trial(r) for r in session.scalars(query))
            if not found:
                find_row(session, sweep_id)
            return found

    def trial(self, sweep_id: str, number: int) -> Trial:
        """One trial with its epochs.

        Raises:
            TrialNotFoundError: the sweep has no trial of this number.
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
            return _to_trial(row, tuple(_to_epoch(e) for e in session.scalars(query)))

    def events(self, sweep_id: str, after: int = 0, limit: int = 500) -> tuple[StoredEvent, ...]:
        """Events of a sweep whose number is above ``after``, in order."""
        query = (
            select(EventRow)
            .where(EventRow.sweep_id == sweep_id, EventRow.id > after)
            .order_by(EventRow.id)
            .limit(limit)
        )
        with self._database.reading() as session:
            return tuple(to_event(r) for r in session.scalars(query))

    def find_news(self, sweep_ids: Collection[str]) -> Mapping[str, SweepNews]:
        """How far some sweeps are; those that do not exist are left out."""
        newest = (
            select(func.max(EventRow.id)).where(EventRow.sweep_id == SweepRow.id).scalar_subquery()
        )
        query = select(SweepRow.id, SweepRow.state, newest)
        with self._database.reading() as session:
            return {
                sweep_id: SweepNews(JobState(state).is_over, number or 0)
                for some in in_parts(sweep_ids)
                for sweep_id, state, number in session.execute(query.where(SweepRow.id.in_(some)))
            }


def _write(session: Session, row: SweepRow, report: DriverReport, now: float) -> None:
    trials = [_to_trial_row(row.id, t) for t in report.trials]
    upsert(session, TrialRow, trials, ("sweep_id", "number"))
    points = [_to_epoch_row(row.id, e) for e in report.epochs]
    upsert(session, EpochRow, points, ("sweep_id", "trial", "epoch"))
    events = [to_values(row.id, e, now) for e in report.events]
    insert_new(session, EventRow, events, ("sweep_id", "key"))
    if report.cost is not None:
        write_cost(session, row, report.cost)
    row.last_heartbeat = now
    for name in ("progress", "slot_seconds", "gpu_hours"):
        value = getattr(report, name)
        if value is not None:
            setattr(row, name, _to_json(value))


def _to_json(value: Any) -> Any:
    """A value for a JSON column: NaN and infinities, which JSON lacks, as text."""
    if isinstance(value, Mapping):
        return {make_storable(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, str):
        return make_storable(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _to_floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _to_trial_row(sweep_id: str, trial: Trial) -> dict[str, Any]:
    facts = {name: getattr(trial, name) for name in _FACTS}
    return {
        "sweep_id": sweep_id,
        "number": trial.number,
        "state": trial.state.value,
        "role": trial.role.value,
        "value": trial.value,
        "seconds": trial.seconds,
        "ended": trial.ended,
        "facts": {k: _to_json(v) for k, v in facts.items()},
    }


def _to_trial(row: TrialRow, epochs: tuple[Epoch, ...] = ()) -> Trial:
    metrics = {name: _to_floats(row.facts.get(name, {})) for name in _METRICS}
    lists = {name: tuple(row.facts.get(name, ())) for name in ("without", "not_acting")}
    folds = tuple(_to_floats(fold) for fold in row.facts.get("folds", ()))
    return Trial(
        number=row.number,
        state=TrialState(row.state),
        role=Role(row.role),
        value=row.value,
        seconds=row.seconds,
        ended=row.ended,
        epochs=epochs,
        **{**row.facts, **metrics, **lists, "folds": folds},
    )


def _to_epoch_row(sweep_id: str, epoch: Epoch) -> dict[str, Any]:
    return {
        "sweep_id": sweep_id,
        "trial": epoch.trial,
        "epoch": epoch.epoch,
        "time": epoch.time,
        "metrics": _to_json(epoch.metrics),
    }


def _to_epoch(row: EpochRow) -> Epoch:
    return Epoch(trial=row.trial, epoch=row.epoch, time=row.time, metrics=_to_floats(row.metrics))
