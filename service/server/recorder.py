"""Reports a running sweep to its service: trials, epochs, events, and its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from service.base.errors import (
    ForbiddenError,
    RateLimitError,
    ServerError,
    StaleDriverError,
    UnauthorizedError,
)
from service.client.driver_reports import MAX_ITEMS
from service.client.job_states import RequestedAction
from service.run.sweep_control import Orders
from service.server.driver_client import DriverClient
from service.server.store.job_records import DriverReport
from service.spec.resources import Resources
from service.study.events import (
    BestImproved,
    EpochEnded,
    TrialEnded,
    TrialEvent,
    TrialPaused,
    TrialStarted,
)
from service.study.records import Metrics, Trial, TrialState
from service.sweep.cost import Cost
from service.sweep.sweep_observer import SweepObserver
from service.sweep.sweep_record import Sweep
from service.sweep.sweep_so_far import SweepSoFar
from service.tracking.outbox import Outbox, TrialUpdate

_AWAY = (ServerError, RateLimitError, UnauthorizedError, ForbiddenError, OSError)
_SHOWN = ("train/loss", "val/loss", "gap/loss", "val/accuracy", "gap/accuracy")


class Recorder:
    """The outbox's sink for one attempt of a sweep; it passes the service's instructions on."""

    batch = 200

    def __init__(
        self,
        service: DriverClient,
        orders: Orders,
        resources: Resources,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service, self._orders, self._clock = service, orders, clock
        self._resources = resources
        self._weight = max(resources.worker_cpus * resources.workers, resources.gpus)
        self._sweep: SweepSoFar | None = None
        self._planned = 0
        self._since: dict[int, float] = {}
        self.requested_action: RequestedAction | None = None

    def begin(self, sweep: Sweep, planned: int) -> None:
        """Start with the sweep as it is in the study, and its planned number of trials."""
        self._sweep, self._planned = SweepSoFar(sweep), planned

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Report updates to the service, and pass its instructions on to the sweep.

        If this attempt is over, the sweep is stopped and nothing more is reported.

        Raises:
            GapsweepError: the service does not answer, or refuses them.
        """
        if self._orders.stale:
            return
        events = [event for item in updates for event in self._list_events(item)]
        report = replace(
            self.report(),
            trials=[item.trial for item in updates if item.changed],
            epochs=[epoch for item in updates for epoch in item.epochs],
            events=events,
        )
        for part in _split(report, MAX_ITEMS):
            if not self._orders.stale:
                self._send(part)

    def _send(self, report: DriverReport) -> None:
        try:
            instructions = self._service.record(report)
        except StaleDriverError:
            self._orders.stale = self._orders.stop = True
            return
        self.requested_action = instructions.requested_action
        self._orders.slots = instructions.slots
        self._orders.stop = instructions.requested_action is not None

    def is_away(self, error: Exception) -> bool:
        """Whether the service cannot be used for now; any other error refuses what was written."""
        return isinstance(error, _AWAY)

    def report(self) -> DriverReport:
        """The sweep's progress, without updates."""
        if self._sweep is None:
            return DriverReport()
        held = list(self._sweep.settled_seconds)
        for trial in self._sweep.running.values():
            held[trial.confirms is not None] += self._count_held_seconds(trial)
        search, confirmation = (max(0.0, seconds) for seconds in held)  # a clock may be set back
        total = search + confirmation
        return DriverReport(
            progress=_summarise_progress(self._sweep, self._planned),
            slot_seconds=total * self._weight,
            gpu_hours=total * self._resources.gpus / 3600,
            cost=Cost.of_seconds(search, confirmation, self._resources),
        )

    def _count_held_seconds(self, trial: Trial) -> float:
        """Seconds for which a running trial has held its resources, up to now."""
        since = self._since.setdefault(trial.number, self._clock())
        return trial.seconds + self._clock() - since

    def _list_events(self, update: TrialUpdate) -> Iterator[TrialEvent]:
        trial = update.trial
        self._update(trial)
        if update.changed:
            yield TrialStarted(
                trial=Trial(
                    number=trial.number,
                    state=TrialState.RUNNING,
                    role=trial.role,
                    params=trial.params,
                    confirms=trial.confirms,
                    seed=trial.seed,
                    replicate=trial.replicate,
                    without=trial.without,
                    redraws_test=trial.redraws_test,
                    started=trial.started,
                )
            )
        for epoch in update.epochs:
            yield EpochEnded(epoch=replace(epoch, metrics=self._select_shown(epoch.metrics)))
        if update.changed and trial.state is TrialState.PAUSED:
            yield TrialPaused(trial=_drop_epochs(trial))
        if update.changed and trial.state.has_ended:
            ended = replace(_drop_epochs(trial), best=self._select_shown(trial.best))
            yield TrialEnded(trial=ended)
            if self._is_best(trial):
                yield BestImproved(trial=ended)

    def _select_shown(self, metrics: Metrics) -> Metrics:
        """The metrics that progress displays show: an event does not carry all of them."""
        objective = () if self._sweep is None else (self._sweep.metric,)
        names = dict.fromkeys((*_SHOWN, *objective))
        return {name: metrics[name] for name in names if name in metrics}

    def _is_best(self, trial: Trial) -> bool:
        """Whether it is the best trial so far and not worse than the baseline."""
        if self._sweep is None or self._sweep.best is None:
            return False
        best, baseline = self._sweep.best, self._sweep.baseline
        if best.number != trial.number:
            return False
        key = self._sweep.ranking.key
        return baseline is None or key(best) <= key(baseline)

    def _update(self, trial: Trial) -> None:
        if self._sweep is not None:
            self._sweep.take(_drop_epochs(trial))
        if trial.state is not TrialState.RUNNING:
            self._since.pop(trial.number, None)


class StoreOutbox(Outbox, SweepObserver):
    """Passes a running sweep on to a recorder, in batches and off the hot path."""

    title = "the service's records"

    def __init__(self, recorder: Recorder, patience: float) -> None:
        super().__init__(recorder, "store", period=0.5, patience=patience)
        self._recorder = recorder

    def begin(self, sweep: Sweep, planned: int, seconds: float | None) -> None:
        """Report the trials of earlier sessions again: the store may not know all of them."""
        self._recorder.begin(sweep, planned)
        self.repeat(sweep.trials)


def _count(report: DriverReport) -> int:
    return len(report.trials) + len(report.epochs) + len(report.events)


def _split(report: DriverReport, size: int) -> Iterator[DriverReport]:
    """The report in parts of at most ``size`` trials, epochs and events; at least one part."""
    for start in range(0, max(1, _count(report)), size):
        yield replace(report, **_select(report, start, start + size))


def _select(report: DriverReport, start: int, stop: int) -> dict[str, Any]:
    """The items of a part: first trials, then epochs, then events."""
    found, before = {}, 0
    for name in ("trials", "epochs", "events"):
        items = getattr(report, name)
        found[name] = items[max(0, start - before) : max(0, stop - before)]
        before += len(items)
    return found


def _drop_epochs(trial: Trial) -> Trial:
    return replace(trial, epochs=())


def _summarise_progress(sweep: SweepSoFar, planned: int) -> dict[str, Any]:
    """Counts of trials and the finalists so far, as lists of sweeps show them."""
    counts = {state.value: count for state, count in sweep.counts.items()}
    finalists = {"baseline": sweep.baseline, "best": sweep.best}
    return {
        **counts,
        "planned": planned,
        "metric": sweep.metric,
        **({"changes": list(sweep.changes[-MAX_ITEMS:])} if sweep.changes else {}),
        **{
            role: _describe_finalist(trial)
            for role, trial in finalists.items()
            if trial is not None
        },
    }


def _describe_finalist(trial: Trial) -> dict[str, Any]:
    return {"trial": trial.number, "value": trial.value, "gap/loss": trial.best.get("gap/loss")}
