"""The store hears all of a sweep, each thing once, and a driver does what the store says."""

from __future__ import annotations

import io
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.base.errors import DatabaseUnavailableError, RateLimitError
from service.cli.remote_report import status_table
from service.client.job_states import JobState, RequestedAction
from service.client.sweep_events import StateChanged
from service.report.console import open_console
from service.run.sweep_control import Orders
from service.server.api import driver_routes, responses
from service.server.api.rate_limits import RateSettings
from service.server.recorder import Recorder
from service.server.store.cost_store import CostStore
from service.server.store.job_records import DriverReport, Instructions, Job
from service.server.store.progress_store import ProgressStore
from service.server.sweep_service import ServiceSettings, SweepService
from service.spec.resources import Resources
from service.study.events import (
    BestImproved,
    EpochEnded,
    TrialEnded,
    TrialEvent,
    TrialPaused,
    TrialStarted,
)
from service.study.ranking import Mode, Ranking
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.cost import Cost
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking.outbox import Outbox, TrialUpdate
from tests.drivers import driver_client
from tests.patience import patience
from tests.stores import Store

WAIT = patience(10.0)
"""Seconds after which what a test waits for will not come."""
SWEEP = "digits-1"
RUNNING, PAUSED = TrialState.RUNNING, TrialState.PAUSED
COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED


class BreakableProgress(ProgressStore):
    """The real store's, which may be away."""

    away = False

    def record(self, sweep_id: str, attempt: int, told: DriverReport) -> Instructions:
        if self.away:
            raise DatabaseUnavailableError("the database does not answer")
        return super().record(sweep_id, attempt, told)


class House(Store):
    """A service with one sweep whose driver is in its first attempt and reports over the API."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.progress = BreakableProgress(self.database, self.clock)
        self.service = SweepService(
            ServiceSettings(database_url=self.url, home=folder), self.database
        )
        self.service.sweeps, self.service.progress = self.sweeps, self.progress
        self.add(SWEEP)
        self.launch(SWEEP)

    def driver(
        self,
        *trials: Trial,
        attempt: int = 1,
        planned: int = 10,
        rates: RateSettings | None = None,
        **resources: Any,
    ) -> tuple[Recorder, Orders]:
        """What a driver that begins, with trials of earlier sessions, tells the store by."""
        orders = Orders()
        held = Resources(**resources)
        client = driver_client(self.service, SWEEP, attempt, rates)
        made = Recorder(client, orders, held, self.clock)
        made.begin(sweep(*trials), planned)
        return made, orders

    def new_attempt(self) -> int:
        """Its driver died; the next one may begin."""
        attempt = self.job.attempt + 1
        self.sweeps.change(SWEEP, JobState.QUEUED, "its driver died", "reconciler")
        self.launch(SWEEP, attempt)
        return attempt

    @property
    def job(self) -> Job:
        return self.sweeps.get(SWEEP)

    @property
    def events(self) -> list[TrialEvent]:
        found = [stored.event for stored in self.progress.events(SWEEP)]
        return [event for event in found if not isinstance(event, StateChanged)]

    @property
    def kinds(self) -> list[tuple[str, int]]:
        return [(event.kind, number_of(event)) for event in self.events]


def number_of(event: TrialEvent) -> int:
    return event.epoch.trial if isinstance(event, EpochEnded) else event.trial.number


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House.opened(tmp_path) as made:
        yield made


def sweep(*trials: Trial, mode: Mode = "min") -> Sweep:
    return Sweep(
        sweep_id=SWEEP,
        name="digits",
        state=SweepState.RUNNING,
        seconds=0.0,
        ranking=Ranking("val/loss", mode),
        max_epochs=5,
        trials=trials,
    )


def trial(number: int, value: float | None = None, **facts: Any) -> Trial:
    """A trial that runs, or with a value a complete one."""
    best = {} if value is None else {"val/loss": value, "gap/loss": value / 10, "epoch": 2.0}
    known = {
        "state": RUNNING if value is None else COMPLETE,
        "role": Role.SEARCH if number else Role.BASELINE,
        "params": {"dropout": number / 10},
        "best": best,
        **facts,
    }
    return Trial(number=number, value=value, **known)


def epoch(number: int, at: int, loss: float = 0.5) -> Epoch:
    return Epoch(trial=number, epoch=at, time=1.0, metrics={"val/loss": loss, "penalty/l1": 3.0})


def news(found: Trial, *epochs: Epoch, changed: bool = True) -> TrialUpdate:
    return TrialUpdate(trial=found, changed=changed, epochs=epochs)


class TestEvents:
    """What listeners hear."""

    def test_every_pause_of_a_trial_is_told_once(self, house: House) -> None:
        recorder, _ = house.driver()
        first, second = (trial(1, state=PAUSED, seconds=s) for s in (2.0, 5.0))
        for found in (trial(1), first, first, trial(1, seconds=2.0), second):
            recorder.write([news(found)])
        paused = [event.trial.seconds for event in house.events if isinstance(event, TrialPaused)]
        assert paused == [2.0, 5.0]
        assert house.job.progress["paused"] == 1

    def test_a_trials_life_is_told_as_events(self, house: House) -> None:
        recorder, _ = house.driver()
        recorder.write([news(trial(1))])
        recorder.write([news(trial(1), epoch(1, 1), changed=False)])
        recorder.write([news(trial(1, 0.25), epoch(1, 2))])
        shown = {"val/loss": 0.5}
        ended = replace(trial(1, 0.25), best={"val/loss": 0.25, "gap/loss": 0.025})
        assert house.events == [
            TrialStarted(trial=trial(1)),
            EpochEnded(epoch=replace(epoch(1, 1), metrics=shown)),
            EpochEnded(epoch=replace(epoch(1, 2), metrics=shown)),
            TrialEnded(trial=ended),
            BestImproved(trial=ended),
        ]
        (stored,) = house.progress.trials(SWEEP)
        assert (stored.state, stored.value, stored.best) == (COMPLETE, 0.25, trial(1, 0.25).best)
        assert [e.epoch for e in house.progress.trial(SWEEP, 1).epochs] == [1, 2]

    def test_the_objective_is_shown_whatever_it_is(self, house: House) -> None:
        recorder, _ = house.driver()
        recorder.begin(replace(sweep(), ranking=Ranking("val/f1", "max")), 10)
        scored = replace(epoch(1, 1), metrics={"val/f1": 0.5, "penalty/l1": 3.0})
        recorder.write([news(trial(1), scored)])
        assert house.events[-1] == EpochEnded(epoch=replace(scored, metrics={"val/f1": 0.5}))

    @pytest.mark.parametrize("state", [PRUNED, TrialState.FAILED])
    def test_an_end_is_told_with_its_reason(self, house: House, state: TrialState) -> None:
        recorder, _ = house.driver()
        recorder.write([news(trial(1, state=state, reason="it diverged"))])
        assert house.kinds == [("trial_started", 1), ("trial_ended", 1)]
        ended = house.events[-1]
        assert isinstance(ended, TrialEnded)
        assert (ended.trial.state, ended.trial.reason) == (state, "it diverged")

    def test_a_trial_that_came_and_went_between_two_calls_is_told_whole(self, house: House) -> None:
        recorder, _ = house.driver()
        recorder.write([news(trial(1, 0.25), epoch(1, 1), epoch(1, 2))])
        kinds = ["trial_started", "epoch_ended", "epoch_ended", "trial_ended", "best_improved"]
        assert house.kinds == [(kind, 1) for kind in kinds]

    def test_the_same_news_twice_count_once(self, house: House) -> None:
        recorder, _ = house.driver()
        told = [news(trial(1, 0.25), epoch(1, 1)), news(trial(2), epoch(2, 1))]
        recorder.write(told)
        before = house.events
        recorder.write(told)
        assert house.events == before
        assert max(Counter(house.kinds).values()) == 1

    def test_another_driver_that_repeats_an_earlier_session_says_nothing_twice(
        self, house: House
    ) -> None:
        earlier = [trial(0, 0.5), trial(1, 0.25), trial(2, state=PRUNED), trial(3)]
        recorder, _ = house.driver()
        recorder.write([news(t, epoch(t.number, 1)) for t in earlier])
        before = house.events
        again, _ = house.driver(*earlier, attempt=house.new_attempt())
        again.write([news(t, epoch(t.number, 1)) for t in earlier])
        assert house.events == before
        again.write([news(trial(3, 0.125), epoch(3, 2))])
        assert house.kinds[len(before) :] == [
            ("epoch_ended", 3),
            ("trial_ended", 3),
            ("best_improved", 3),
        ]

    def test_what_a_driver_could_not_tell_the_next_one_tells(self, house: House) -> None:
        lost = [trial(0, 0.5), trial(1, state=PRUNED)]
        recorder, _ = house.driver(*lost, attempt=house.new_attempt())
        recorder.write([news(t, epoch(t.number, 1)) for t in lost])
        assert [k for k in house.kinds if k[0] != "best_improved"] == [
            ("trial_started", 0),
            ("epoch_ended", 0),
            ("trial_ended", 0),
            ("trial_started", 1),
            ("epoch_ended", 1),
            ("trial_ended", 1),
        ]

    def test_what_is_not_finite_comes_back(self, house: House) -> None:
        recorder, _ = house.driver()
        recorder.write([news(trial(1), epoch(1, 1, float("nan")), epoch(1, 2, float("inf")))])
        losses = [
            str(e.epoch.metrics["val/loss"]) for e in house.events if isinstance(e, EpochEnded)
        ]
        assert losses == ["nan", "inf"]


class TestBest:
    """When the best has improved."""

    def improved(self, house: House) -> list[int]:
        return [number for kind, number in house.kinds if kind == "best_improved"]

    def test_it_is_told_when_it_is_so_and_no_more(self, house: House) -> None:
        recorder, _ = house.driver()
        for number, value in enumerate([0.9, 0.5, 0.7, 0.5, 0.4], start=1):
            recorder.write([news(trial(number, value))])
        assert self.improved(house) == [1, 2, 5]

    def test_several_in_one_call_count_in_order(self, house: House) -> None:
        recorder, _ = house.driver()
        recorder.write([news(trial(n, v)) for n, v in ((1, 0.5), (2, 0.6), (3, 0.4))])
        assert self.improved(house) == [1, 3]

    def test_the_objective_says_what_is_better(self, house: House) -> None:
        recorder, _ = house.driver()
        recorder.begin(sweep(mode="max"), 10)
        for number, value in enumerate([0.5, 0.4, 0.6], start=1):
            recorder.write([news(trial(number, value))])
        assert self.improved(house) == [1, 3]

    def test_what_is_outside_a_constraint_is_no_improvement(self, house: House) -> None:
        recorder, _ = house.driver()
        recorder.write([news(trial(1, 0.5, violation=0.0))])
        recorder.write([news(trial(2, 0.1, violation=0.3))])
        assert self.improved(house) == [1]

    def test_what_an_earlier_session_found_is_no_improvement(self, house: House) -> None:
        first, _ = house.driver()
        first.write([news(trial(1, 0.5))])
        second, _ = house.driver(trial(1, 0.5), attempt=house.new_attempt())
        second.write([news(trial(1, 0.5)), news(trial(2, 0.6))])
        assert self.improved(house) == [1]
        second.write([news(trial(3, 0.4))])
        assert self.improved(house) == [1, 3]

    def test_a_trial_that_is_worse_than_the_baseline_is_no_improvement(self, house: House) -> None:
        recorder, _ = house.driver()
        recorder.write([news(trial(0, 0.5))])
        before = self.improved(house)
        recorder.write([news(trial(1, 0.9))])
        assert self.improved(house) == before

    def test_it_is_told_later_where_the_store_was_away(self, house: House) -> None:
        recorder, _ = house.driver()
        house.progress.away = True
        told = [news(trial(1, 0.5))]
        with pytest.raises(DatabaseUnavailableError):
            recorder.write(told)
        house.progress.away = False
        recorder.write(told)
        assert house.kinds == [("trial_started", 1), ("trial_ended", 1), ("best_improved", 1)]

    def test_the_next_driver_tells_it_where_the_last_one_could_not(self, house: House) -> None:
        recorder, _ = house.driver(trial(1, 0.5), attempt=house.new_attempt())
        recorder.write([news(trial(1, 0.5))])
        assert self.improved(house) == [1]


class TestProgress:
    """What lists of sweeps show, and what users have had."""

    def test_accepted_changes_are_told_to_the_driver_and_shown_with_the_progress(
        self, house: House
    ) -> None:
        client = driver_client(house.service, SWEEP, 1, None)
        assert not client.wait_for_job(1.0).accept_changes
        house.sweeps.change(SWEEP, JobState.QUEUED, "again", "ann", accept_changes=True)
        house.launch(SWEEP, 2)
        client = driver_client(house.service, SWEEP, 2, None)
        assert client.wait_for_job(1.0).accept_changes
        recorder, _ = house.driver(attempt=2)
        words = "From trial 2 on it ran on something else (data: the targets are others)."
        recorder.begin(replace(sweep(), changes=(words,)), 3)
        recorder.write([])
        assert house.job.progress["changes"] == [words]
        shown = house.service.sweeps.get_with_history(SWEEP)
        console = open_console(io.StringIO(), width=120)
        console.print(status_table(responses.sweep_details(shown, Cost())))
        assert words in console.file.getvalue()  # type: ignore[attr-defined]  # of StringIO

    def test_trials_are_counted_and_the_finalists_named(self, house: House) -> None:
        recorder, _ = house.driver(trial(0, 0.5), planned=12)
        recorder.write([])
        assert house.job.progress["best"]["trial"] == 0
        recorder.write([news(trial(1, 0.25)), news(trial(2)), news(trial(3, state=PRUNED))])
        assert house.job.progress == {
            "running": 1,
            "paused": 0,
            "complete": 2,
            "pruned": 1,
            "failed": 0,
            "planned": 12,
            "metric": "val/loss",
            "baseline": {"trial": 0, "value": 0.5, "gap/loss": 0.05},
            "best": {"trial": 1, "value": 0.25, "gap/loss": 0.025},
        }

    def test_a_sign_is_given_with_nothing_new_and_before_a_sweep_is_known(
        self, house: House
    ) -> None:
        orders = Orders()
        client = driver_client(house.service, SWEEP)
        recorder = Recorder(client, orders, Resources(), lambda: house.clock.now)
        recorder.write([])
        job = house.job
        assert (job.state, job.last_heartbeat, job.progress) == (JobState.RUNNING, 1000.0, {})
        house.clock.now += 7
        recorder.write([])
        assert house.job.last_heartbeat == 1007.0
        assert house.events == []

    @pytest.mark.parametrize(
        ("resources", "weight", "gpus"),
        [
            ({}, 1.0, 0.0),
            ({"cpus": 4.0}, 4.0, 0.0),
            ({"workers": 2, "gpus": 2}, 2.0, 2.0),
            ({"gpus": 0.5, "cpus": 0.25}, 0.5, 0.5),
        ],
    )
    def test_what_trials_hold_is_added_up(
        self, house: House, resources: dict[str, Any], weight: float, gpus: float
    ) -> None:
        recorder, _ = house.driver(trial(0, 0.5, seconds=100.0), **resources)
        recorder.write([news(trial(1))])
        assert house.job.slot_seconds == pytest.approx(100 * weight)
        house.clock.now += 20
        recorder.write([news(trial(2))])
        assert house.job.slot_seconds == pytest.approx(120 * weight)
        house.clock.now += 10
        recorder.write([])
        assert house.job.slot_seconds == pytest.approx(140 * weight)
        recorder.write([news(trial(1, 0.4, seconds=30.0)), news(trial(2, 0.4, seconds=10.0))])
        assert house.job.slot_seconds == pytest.approx(140 * weight)
        assert house.job.gpu_hours == pytest.approx(140 * gpus / 3600)

    def test_what_the_search_and_the_confirmation_hold_is_added_up_apart(
        self, house: House
    ) -> None:
        recorder, _ = house.driver(trial(0, 0.5, seconds=100.0), workers=2, cpus=6, gpus=2)
        recorder.write([news(trial(1, confirms=0, role=Role.REPLICATE, replicate=1))])
        house.clock.now += 20
        recorder.write([news(trial(2))])
        house.clock.now += 10
        recorder.write([])
        costs = CostStore(house.database)
        assert costs.of_sweep(house.job.sweep_id) == Cost(
            search_cpu_seconds=6 * 110.0,
            search_gpu_seconds=2 * 110.0,
            confirmation_cpu_seconds=6 * 30.0,
            confirmation_gpu_seconds=2 * 30.0,
        )

    def test_what_a_trial_held_before_it_was_interrupted_counts(self, house: House) -> None:
        recorder, _ = house.driver(trial(1, seconds=50.0))
        recorder.write([news(trial(1, seconds=50.0))])
        house.clock.now += 10
        recorder.write([])
        assert house.job.slot_seconds == pytest.approx(60.0)

    def test_how_far_it_is_can_be_asked_without_news(self, house: House) -> None:
        recorder, _ = house.driver(trial(0, 0.5, seconds=10.0))
        told = recorder.report()
        assert (told.trials, told.epochs, told.events) == ((), (), ())
        assert told.slot_seconds == 10.0
        assert told.progress is not None
        assert told.progress["complete"] == 1


class TestOrders:
    """What a driver is told in return."""

    @pytest.mark.parametrize("requested_action", list(RequestedAction))
    def test_a_wish_stops_it(self, house: House, requested_action: RequestedAction) -> None:
        recorder, orders = house.driver()
        recorder.write([])
        assert (orders.stop, recorder.requested_action) == (False, None)
        house.sweeps.request(SWEEP, requested_action, "ann")
        recorder.write([])
        assert (orders.stop, orders.stale, recorder.requested_action) == (
            True,
            False,
            requested_action,
        )

    def test_its_share_bounds_its_trials(self, house: House) -> None:
        recorder, orders = house.driver()
        recorder.write([])
        assert orders.slots is None
        for slots in (3, 1):
            house.sweeps.set_slots({SWEEP: slots})
            recorder.write([])
            assert orders.slots == slots

    def test_one_whose_sweep_is_anothers_stops_and_says_no_more(self, house: House) -> None:
        recorder, orders = house.driver()
        recorder.write([news(trial(1))])
        attempt = house.new_attempt()
        recorder.write([news(trial(2))])
        assert (orders.stop, orders.stale) == (True, True)
        house.sweeps.change(SWEEP, JobState.RUNNING, "its driver was heard", "driver", attempt=1)
        recorder.write([news(trial(3))])
        assert [t.number for t in house.progress.trials(SWEEP)] == [1]
        assert attempt == 2

    def test_one_whose_sweep_has_ended_stops(self, house: House) -> None:
        recorder, orders = house.driver()
        house.sweeps.change(SWEEP, JobState.CANCELLED, "enough", "ann")
        recorder.write([news(trial(1))])
        assert (orders.stop, orders.stale) == (True, True)
        assert house.kinds == []


class TestRefusals:
    """What a service will never take is left out, and nothing else."""

    def test_one_record_that_is_out_of_bounds_stops_no_other(self, house: House) -> None:
        recorder, _ = house.driver()
        box = outbox(recorder)
        for told in (trial(1), trial(2, 0.5)):
            box.started(told)
        for at in (1, 2**31, 3):
            box.epoch(epoch(1, at))
        assert box.close(lambda: None)
        assert [e.epoch for e in house.progress.trial(SWEEP, 1).epochs] == [1, 3]
        assert [t.number for t in house.progress.trials(SWEEP)] == [1, 2]
        (loss,) = box.losses.list("the service")
        assert (loss.what, loss.count) == (f"trial 1, epoch {2**31}", 1)
        assert "less than 2147483648" in loss.reason

    def test_what_the_store_cannot_keep_is_cut(self, house: House) -> None:
        recorder, _ = house.driver()
        reason = "\0λ\ud800" + "x" * 10_000
        recorder.write([news(trial(1, state=TrialState.FAILED, reason=reason))])
        (stored,) = house.progress.trials(SWEEP)
        assert stored.reason is not None
        assert stored.reason.startswith("λ?xxx")
        assert len(stored.reason) == 4000

    def test_a_long_sweep_that_begins_again_is_told_in_parts(self, house: House) -> None:
        recorder, _ = house.driver()
        epochs = [epoch(1, at) for at in range(1, 1201)]
        recorder.write([news(trial(1, 0.5), *epochs)])
        assert len(house.progress.trial(SWEEP, 1).epochs) == 1200
        events = house.progress.events(SWEEP, limit=10_000)
        assert Counter(e.event.kind for e in events)["epoch_ended"] == 1200

    def test_a_report_that_is_too_large_is_halved(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(driver_routes, "MAX_REPORT_BYTES", 4096)
        recorder, _ = house.driver()
        box = outbox(recorder)
        box.repeat([trial(1, 0.5, epochs=tuple(epoch(1, at) for at in range(1, 101)))])
        assert box.close(lambda: None)
        assert len(house.progress.trial(SWEEP, 1).epochs) == 100
        assert box.losses.list("the service") == ()

    def test_a_service_that_is_too_busy_is_asked_again(self, house: House) -> None:
        rates = RateSettings(reports="1/minute")
        recorder, _ = house.driver(rates=rates)
        recorder.write([])
        with pytest.raises(RateLimitError) as refused:
            recorder.write([news(trial(1))])
        assert recorder.is_away(refused.value)

    def test_a_clock_that_is_set_back_is_no_reason(self, house: House) -> None:
        recorder, _ = house.driver()
        recorder.write([news(trial(1))])
        house.clock.now -= 1000
        recorder.write([])
        assert house.job.slot_seconds == 0.0


class Sink:
    """Takes news, or does as a test says."""

    def __init__(self, batch: int = 100) -> None:
        self.batch = batch
        self.calls: queue.SimpleQueue[Sequence[TrialUpdate]] = queue.SimpleQueue()
        self.last_heartbeat: list[TrialUpdate] = []
        self.error: Exception | None = None
        self.refused = threading.Semaphore(0)

    def write(self, news: Sequence[TrialUpdate]) -> None:
        if self.error is not None:
            self.refused.release()
            raise self.error
        self.last_heartbeat += news
        self.calls.put(news)

    def is_away(self, error: Exception) -> bool:
        return isinstance(error, ConnectionError)

    def wait_for(self, *numbers: int) -> None:
        """Until it has heard of these trials."""
        while not set(numbers) <= {item.trial.number for item in self.last_heartbeat}:
            self.calls.get(timeout=WAIT)

    def wait_until_refused(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.refused.acquire(timeout=WAIT)


def outbox(sink: Sink | Recorder, period: float = 0.005, patience: float = WAIT) -> Outbox:
    return Outbox(sink, "test", period=period, patience=patience)


class TestOutbox:
    """Whoever is told is told everything, be it late."""

    def test_news_come_together_by_trial_and_in_order(self) -> None:
        sink = Sink()
        box = outbox(sink, period=WAIT)
        box.started(trial(2))
        box.started(trial(1))
        for at in (1, 2):
            box.epoch(epoch(1, at))
            box.epoch(epoch(2, at))
        box.ended(trial(1, 0.5))
        assert box.close(lambda: None)
        assert [item.trial for item in sink.last_heartbeat] == [trial(1, 0.5), trial(2)]
        assert [[e.epoch for e in item.epochs] for item in sink.last_heartbeat] == [[1, 2]] * 2
        assert all(item.changed for item in sink.last_heartbeat)

    def test_epochs_alone_do_not_change_a_trial(self) -> None:
        sink = Sink()
        box = outbox(sink)
        box.started(trial(1))
        sink.wait_for(1)
        box.epoch(epoch(1, 1))
        assert box.close(lambda: None)
        assert [(n.changed, len(n.epochs)) for n in sink.last_heartbeat] == [(True, 0), (False, 1)]

    def test_a_sink_is_called_with_nothing_new_too(self) -> None:
        sink = Sink()
        box = outbox(sink)
        assert [sink.calls.get(timeout=WAIT) for _ in range(3)] == [[], [], []]
        assert box.close(lambda: None)

    def test_what_a_sink_did_not_take_is_told_later_and_once(self) -> None:
        sink = Sink()
        sink.error = ConnectionError("http://ann:hunter22@host is away\nand more")
        box = outbox(sink)
        box.started(trial(1))
        box.epoch(epoch(1, 1))
        sink.wait_until_refused(3)
        assert box.error == "ConnectionError: http://***@host is away"
        box.epoch(epoch(1, 2))
        sink.error = None
        sink.wait_for(1)
        assert box.close(lambda: None)
        told = [e.epoch for item in sink.last_heartbeat for e in item.epochs]
        assert told == [1, 2]
        assert sum(item.changed for item in sink.last_heartbeat) == 1

    def test_batches_are_no_larger_than_the_sink_takes(self) -> None:
        sink = Sink(batch=3)
        sink.error = ConnectionError("away")
        box = outbox(sink)
        for number in range(10):
            box.started(trial(number))
        sink.wait_until_refused(2)
        sink.error = None
        sink.wait_for(*range(10))
        assert box.close(lambda: None)
        assert [item.trial.number for item in sink.last_heartbeat] == list(range(10))
        sizes = []
        while not sink.calls.empty():
            sizes.append(len(sink.calls.get()))
        assert all(size <= 3 for size in sizes)

    def test_of_several_batches_those_that_were_taken_are_not_told_again(self) -> None:
        class Tiring(Sink):
            """It takes one call and then none, until it is rested."""

            tired = True

            def write(self, news: Sequence[TrialUpdate]) -> None:
                if self.last_heartbeat and self.tired:
                    self.refused.release()
                    raise ConnectionError("away")
                super().write(news)

        sink = Tiring(batch=2)
        box = outbox(sink, period=0.02)
        for number in range(5):
            box.started(trial(number))
        sink.wait_until_refused(2)
        first = len(sink.last_heartbeat)
        assert 0 < first <= 2
        sink.tired = False
        sink.wait_for(*range(5))
        assert box.close(lambda: None)
        assert [item.trial.number for item in sink.last_heartbeat] == list(range(5))

    def test_what_a_sink_refuses_is_skipped_alone_and_counted(self) -> None:
        class Picky(Sink):
            """It refuses whatever has the second epoch of the first trial in it."""

            def write(self, news: Sequence[TrialUpdate]) -> None:
                if any(e == epoch(1, 2) for item in news for e in item.epochs):
                    raise ValueError("not this one")
                super().write(news)

        sink = Picky()
        box = outbox(sink, period=WAIT)
        for number in (1, 2, 3):
            box.started(trial(number))
            for at in (1, 2, 3):
                box.epoch(epoch(number, at))
        assert box.close(lambda: None)
        told = {(e.trial, e.epoch) for item in sink.last_heartbeat for e in item.epochs}
        assert told == {(t, e) for t in (1, 2, 3) for e in (1, 2, 3)} - {(1, 2)}
        assert {i.trial.number for i in sink.last_heartbeat if i.changed} == {1, 2, 3}
        (loss,) = box.losses.list("the store")
        assert str(loss) == "the store: trial 1, epoch 2 (ValueError: not this one)"

    def test_an_update_that_makes_a_sink_fail_for_ever_is_found(self) -> None:
        class Crashing(Sink):
            """It seems to be away whenever it is told of trial 1."""

            def write(self, news: Sequence[TrialUpdate]) -> None:
                if any(item.trial.number == 1 for item in news):
                    raise ConnectionError("crashed")
                super().write(news)

        sink = Crashing()
        box = outbox(sink)
        box.started(trial(1))
        box.started(trial(2))
        sink.wait_for(2)
        assert box.close(lambda: None)
        (loss,) = box.losses.list("the store")
        assert loss.what == "trial 1"

    def test_trials_of_an_earlier_session_are_told_again(self) -> None:
        sink = Sink()
        box = outbox(sink)
        box.repeat([trial(0, 0.5, epochs=(epoch(0, 1), epoch(0, 2))), trial(1)])
        assert box.close(lambda: None)
        assert sorted(item.trial.number for item in sink.last_heartbeat) == [0, 1]
        assert [e.epoch for item in sink.last_heartbeat for e in item.epochs] == [1, 2]

    def test_closing_tells_what_is_left_and_then_does_the_last_thing_once(self) -> None:
        sink = Sink()
        done: list[int] = []
        box = outbox(sink, period=WAIT)
        began = time.monotonic()
        box.started(trial(1))
        assert box.close(lambda: done.append(len(sink.last_heartbeat)))
        assert done == [1]
        assert time.monotonic() - began < WAIT / 2

    def test_closing_waits_for_a_sink_that_comes_back(self) -> None:
        sink = Sink()
        sink.error = ConnectionError("away")
        box = outbox(sink)
        box.started(trial(1))
        back = threading.Thread(target=lambda: self._comes_back(sink))
        back.start()
        assert box.close(lambda: None)
        back.join()
        assert [item.trial.number for item in sink.last_heartbeat] == [1]

    def _comes_back(self, sink: Sink) -> None:
        sink.wait_until_refused(3)
        sink.error = None

    @pytest.mark.parametrize("where", ["sink", "last"])
    def test_closing_gives_up_after_patience_and_says_so(self, where: str) -> None:
        sink = Sink()
        box = outbox(sink, period=0.02, patience=0.2)
        error = ConnectionError("still away")
        if where == "sink":
            sink.error = error
        began = time.monotonic()
        assert not box.close(_raising(error) if where == "last" else lambda: None)
        assert 0.2 <= time.monotonic() - began < patience(2.0)
        assert box.error == "ConnectionError: still away"

    def test_the_last_thing_is_not_done_while_something_is_untold(self) -> None:
        sink = Sink()
        sink.error = ConnectionError("away")
        done: list[bool] = []
        box = outbox(sink, period=0.02, patience=0.1)
        box.started(trial(1))
        assert not box.close(lambda: done.append(True))
        assert done == []

    def test_all_together_over_a_store_that_goes_away_and_comes_back(self, house: House) -> None:
        recorder, orders = house.driver(planned=3)
        box = outbox(recorder)
        box.started(trial(0))
        _until(lambda: len(house.kinds) == 1)
        house.progress.away = True
        box.epoch(epoch(0, 1))
        box.ended(trial(0, 0.5, seconds=4.0))
        _until(lambda: box.error is not None)
        assert (
            box.error == "DatabaseUnavailableError: the database does not answer; try again later"
        )
        house.progress.away = False
        ended = (JobState.SUCCEEDED, "it ended")
        client = driver_client(house.service, SWEEP)
        assert box.close(lambda: client.end(recorder.report(), *ended))
        assert not orders.stale
        job = house.job
        assert (job.state, job.cause, job.slot_seconds) == (*ended, 4.0)
        assert Counter(house.kinds)[("trial_ended", 0)] == 1


def _raising(error: Exception) -> Callable[[], None]:
    def last() -> None:
        raise error

    return last


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
