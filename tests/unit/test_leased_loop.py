"""What runs in the background runs in one process, again and again, whatever goes wrong."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.base.errors import ClusterUnavailableError
from service.server.leased_loop import LEASE, ROUND_LIMIT, LeasedLoop
from service.server.store.database import Database
from service.server.store.lease_store import LeaseStore
from tests.log_records import LogRecords
from tests.patience import patience, wait_for
from tests.stores import Store

WAIT = patience(10.0)
"""Seconds after which what a test waits for will not come."""
NAME = "sweeps"


class WatchedLeases(LeaseStore):
    """A lease store that records what each acquire returned."""

    def __init__(self, database: Database, holder: str, clock: Callable[[], float]) -> None:
        super().__init__(database, holder, clock)
        self.answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def acquire(self, name: str, seconds: float) -> bool:
        answer = super().acquire(name, seconds)
        self.answers.put(answer)
        return answer


class House(Store):
    """A store, and keepers that are ended with the test."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.keepers: list[LeasedLoop] = []

    def leases(self, holder: str) -> WatchedLeases:
        return WatchedLeases(self.database, holder, self.clock)

    def keeper(
        self,
        work: Callable[[], None],
        leases: LeaseStore | None = None,
        *,
        period: float = 0.005,
        on_error: Callable[[], None] = lambda: None,
    ) -> LeasedLoop:
        made = LeasedLoop(NAME, leases or self.leases("one"), work, period, on_error)
        self.keepers.append(made)
        made.start()
        return made

    def close(self) -> None:
        for keeper in self.keepers:
            keeper.stop()
        super().close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House.opened(tmp_path) as made:
        yield made


class Rounds:
    """What is done in a test, on a thread; the test waits for it."""

    def __init__(self) -> None:
        self.done: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __call__(self) -> None:
        self.done.put(None)

    def wait(self, count: int = 1) -> None:
        for _ in range(count):
            self.done.get(timeout=WAIT)

    @property
    def none(self) -> bool:
        return self.done.empty()


def test_only_one_of_two_works_and_when_it_stops_the_other_goes_on_at_once(house: House) -> None:
    first, second = Rounds(), Rounds()
    one = house.keeper(first)
    first.wait()
    waiting = house.leases("two")
    house.keeper(second, waiting)
    for _ in range(5):
        assert not waiting.answers.get(timeout=WAIT)
        first.wait()
    assert second.none
    one.stop()
    second.wait(2)  # the clock stands: the lease was given back, it did not run out
    left = first.done.qsize()
    second.wait(2)
    assert first.done.qsize() == left


def test_when_one_dies_the_other_goes_on_after_the_lease(house: House) -> None:
    assert house.leases("one that died").acquire(NAME, LEASE)
    rounds, waiting = Rounds(), house.leases("two")
    house.keeper(rounds, waiting)
    house.clock.now += LEASE - 1
    for _ in range(3):
        assert not waiting.answers.get(timeout=WAIT)
    assert rounds.none
    house.clock.now += 2
    rounds.wait(2)


def test_while_a_round_takes_long_no_other_begins_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = 0.6
    monkeypatch.setattr("service.server.leased_loop.LEASE", lease)
    begun, enough = threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        enough.wait(WAIT)

    house.keeper(long, WatchedLeases(house.database, "one", time.time), period=60.0)
    assert begun.wait(WAIT)
    rounds, waiting = Rounds(), WatchedLeases(house.database, "two", time.time)
    house.keeper(rounds, waiting)
    until = time.monotonic() + 1.5 * lease
    while time.monotonic() < until and rounds.none:
        waiting.answers.get(timeout=WAIT)
    enough.set()
    assert rounds.none


def test_keepers_of_different_names_do_not_wait_for_each_other(house: House) -> None:
    first, second = Rounds(), Rounds()
    house.keeper(first)
    other = LeasedLoop("webhooks", house.leases("two"), second, 0.005)
    house.keepers.append(other)
    other.start()
    first.wait(2)
    second.wait(2)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ClusterUnavailableError("http://ann:hunter22@head:8265 is away"),
            "http://***@head:8265 is away",
        ),
        (ZeroDivisionError("nobody foresaw that"), "ZeroDivisionError"),
    ],
)
def test_a_round_that_raises_is_followed_by_another_and_trouble_is_known_until_it_is_over(
    house: House, error: Exception, words: str
) -> None:
    rounds, troubles, raising = Rounds(), Rounds(), threading.Event()
    raising.set()

    def work() -> None:
        if raising.is_set():
            raise error
        rounds()

    keeper = house.keeper(work, on_error=troubles)
    troubles.wait(3)
    assert (keeper.error, keeper.last_round) == (words, None)
    raising.clear()
    rounds.wait(2)
    assert keeper.error is None
    assert keeper.last_round is not None


def test_trouble_is_said_once_and_again_when_it_comes_again(house: House, logs: LogRecords) -> None:
    fates = iter(["away", "away", "away", "worse", "worse", None, "away", "away"])
    over = threading.Event()

    def work() -> None:
        fate = next(fates, "over")
        if fate == "over":
            over.set()
        elif fate is not None:
            raise ClusterUnavailableError(fate)

    def listed() -> list[str]:
        return [r.getMessage() for r in logs.records if r.levelno == logging.WARNING]

    with logs.at_level(logging.WARNING, "service.server.leased_loop"):
        house.keeper(work)
        assert over.wait(WAIT)
    assert listed() == [f"{NAME}: {w}" for w in ("away", "worse", "away")]


def test_a_store_that_is_away_is_trouble_and_no_end(house: House) -> None:
    """The lease itself cannot be asked for."""
    known, away = threading.Event(), threading.Event()

    class Away(WatchedLeases):
        def acquire(self, name: str, seconds: float) -> bool:
            if away.is_set():
                raise ClusterUnavailableError("the database does not answer")
            return super().acquire(name, seconds)

    rounds = Rounds()
    away.set()
    keeper = house.keeper(
        rounds, Away(house.database, "one", lambda: house.clock.now), on_error=known.set
    )
    assert known.wait(WAIT)
    assert rounds.none
    assert keeper.error == "the database does not answer"
    away.clear()
    rounds.wait()


def test_one_that_is_woken_makes_its_next_round_now(house: House) -> None:
    rounds = Rounds()
    keeper = house.keeper(rounds, period=3600.0)
    for _ in range(3):
        rounds.wait()
        keeper.wake()
    rounds.wait()


def test_one_that_is_stopped_ends_the_round_that_runs_and_begins_no_other(house: House) -> None:
    begun, ended, rounds = threading.Event(), threading.Event(), Rounds()

    def work() -> None:
        rounds()
        begun.set()
        ended.wait(WAIT)

    keeper = house.keeper(work, period=3600.0)
    assert begun.wait(WAIT)
    stopping = threading.Thread(target=keeper.stop)
    stopping.start()
    assert not house.leases("two").acquire(NAME, LEASE)
    ended.set()
    stopping.join(WAIT)
    assert rounds.done.qsize() == 1
    assert house.leases("two").acquire(NAME, LEASE)


class TestFaults:
    """A loop that does nothing is known to be at fault."""

    def test_one_whose_round_does_not_end(self, house: House) -> None:
        begun, enough, now = threading.Event(), threading.Event(), [0.0]

        def work() -> None:
            begun.set()
            enough.wait(WAIT)

        loop = LeasedLoop(NAME, house.leases("one"), work, 0.005, clock=lambda: now[0])
        assert loop.find_fault() is None  # it was not started
        house.keepers.append(loop)
        loop.start()
        assert begun.wait(WAIT)
        now[0] = ROUND_LIMIT - 1
        assert loop.find_fault() is None
        now[0] = ROUND_LIMIT + 10
        fault = loop.find_fault() or ""
        assert "'sweeps' has done nothing for 70 s: its round does not end" in fault
        assert loop.age == ROUND_LIMIT + 10
        enough.set()
        wait_for(lambda: loop.find_fault() is None, 10)
        assert loop.age < 1
        assert loop.round_seconds == ROUND_LIMIT + 10

    def test_one_whose_rounds_fail_unless_the_cluster_is_away(self, house: House) -> None:
        now, tried = [0.0], Rounds()
        error: list[Exception] = [ClusterUnavailableError("away")]

        def work() -> None:
            tried()
            raise error[0]

        loop = LeasedLoop(NAME, house.leases("one"), work, 0.005, clock=lambda: now[0])
        house.keepers.append(loop)
        loop.start()
        tried.wait()
        now[0] = 1000.0
        tried.wait(2)
        assert loop.find_fault() is None
        assert loop.age == 1000.0
        error[0] = ZeroDivisionError()
        tried.wait(2)
        now[0] = 2000.0
        assert "every round fails (ZeroDivisionError)" in (loop.find_fault() or "")

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_one_whose_thread_has_ended(self, house: House) -> None:
        def work() -> None:
            raise SystemExit

        loop = house.keeper(work)
        wait_for(lambda: loop.find_fault() is not None, 10)
        assert "has ended; restart the service" in (loop.find_fault() or "")

    def test_one_that_fails_to_handle_an_error_goes_on(self, house: House) -> None:
        rounds = Rounds()

        def work() -> None:
            rounds()
            raise ZeroDivisionError

        def fail() -> None:
            raise ValueError

        house.keeper(work, on_error=fail)
        rounds.wait(3)


def test_a_round_that_does_not_end_gives_its_lease_to_another_process(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.server.leased_loop.LEASE", 0.6)
    monkeypatch.setattr("service.server.leased_loop.HOLDING_LIMIT", 0.1)
    begun, enough = threading.Event(), threading.Event()

    def stuck() -> None:
        begun.set()
        enough.wait(WAIT)

    house.keeper(stuck, WatchedLeases(house.database, "one", time.time), period=60.0)
    assert begun.wait(WAIT)
    rounds = Rounds()
    house.keeper(rounds, WatchedLeases(house.database, "two", time.time))
    rounds.wait(2)
    enough.set()
