"""The store and the cluster are kept in agreement, whatever happens to either and whenever."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.base.amount import Amount
from service.base.errors import ClusterUnavailableError, LaunchError
from service.client.job_states import JobState
from service.cluster.jobs import ClusterNode, JobStatus, Launch
from service.server import driver_config
from service.server.driver_access import Handover
from service.server.driver_config import DriverConfig
from service.server.queue import QueueLimits
from service.server.reconciler import (
    HEARTBEAT_TIMEOUT,
    PENDING_TIMEOUT,
    PLACE_TIMEOUT,
    STARTUP_TIMEOUT,
    STOP_GRACE,
    TROUBLE_TIMEOUT,
    Reconciler,
)
from service.server.store.callers import Caller
from service.server.store.job_records import DriverReport, Job
from service.server.store.progress_store import ProgressStore
from service.server.store.sweep_tokens import SweepScope
from service.server.store.user_roles import UserRole
from service.server.sweep_service import ServiceSettings, SweepService
from tests.log_records import LogRecords
from tests.stores import Store

SPEC: dict[str, Any] = {
    "name": "digits-mlp",
    "trainable": "trainables.models:MLP",
    "data": {"name": "digits"},
    "space": {"dropout": {"float": [0.0, 0.5]}},
}
WHY = "FAILED: exit code 1; its log ends with: Traceback: it broke"
ANN = Caller(name="ann", role=UserRole.USER, created=0.0)
BOB = Caller(name="bob", role=UserRole.USER, created=0.0)


class CrashedError(BaseException):
    """The service's process ends here."""


@dataclass
class PretendCluster:
    """A cluster that does as a test says; like the real one it takes a name once."""

    cpus: float = 8.0
    jobs: dict[str, JobStatus] = field(default_factory=dict)
    launches: list[Launch] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    away: bool = False
    refuses: bool = False
    crash_before: bool = False
    crash_after: bool = False
    broken: dict[str, Exception] = field(default_factory=dict)  # jobs it fails on
    log: str = "Traceback: it broke\n"
    meanwhile: Callable[[], None] = field(default=lambda: None)  # while it is asked

    def start(self, launch: Launch) -> None:
        self._check()
        if self.refuses:
            raise LaunchError("the cluster does not take the job: it is too large")
        if self.crash_before:
            raise CrashedError
        if launch.name not in self.jobs:
            self.jobs[launch.name] = JobStatus(False, "RUNNING: ")
            self.launches.append(launch)
        if self.crash_after:
            raise CrashedError

    def find(self, name: str) -> JobStatus | None:
        self._check()
        if name in self.broken:
            raise self.broken[name]
        found = self.jobs.get(name)
        self.meanwhile()
        return found

    def stop(self, name: str) -> None:
        self._check()
        self.stopped.append(name)
        self.jobs[name] = JobStatus(True, "STOPPED: ")

    def read_output_tail(self, name: str) -> str:
        return self.log

    def list_nodes(self) -> Sequence[ClusterNode]:
        self._check()
        return [ClusterNode("one", Amount(self.cpus, 0.0))]

    def ends(self, name: str, words: str = "FAILED: exit code 1") -> None:
        self.jobs[name] = JobStatus(True, words)

    def _check(self) -> None:
        if self.away:
            raise ClusterUnavailableError("the cluster does not answer")


class House(Store):
    """A service over a real store, its reconciler and its pretended cluster."""

    def __init__(self, folder: Path, limits: QueueLimits | None = None, retries: int = 2) -> None:
        super().__init__(folder)
        self.folder = folder
        self.service = SweepService(
            ServiceSettings(database_url=self.url, home=folder), self.database
        )
        self.service.sweeps = self.sweeps
        self.service.progress = ProgressStore(self.database, self.clock)
        self.service.users.create_or_update(BOB.name, BOB.role)
        self.cluster = PretendCluster()
        self._limits, self._retries = limits or QueueLimits(), retries
        self.restart()

    def restart(self) -> None:
        """Another process of the service begins where the last one ended."""
        handover = Handover(self.folder, self.service.sweep_tokens, "http://api:8080", None)
        self.reconciler = Reconciler(
            self.service, self.cluster, self._limits, handover, self._retries, self.clock
        )

    def submit(self, user: Caller = ANN, concurrent: int = 2, **more: Any) -> str:
        spec = {**SPEC, "resources": {"concurrent": concurrent}}
        self.clock.now += 1
        return self.service.submit(user, spec, **more).sweep_id

    def round(self, seconds: float = 1.0) -> None:
        self.clock.now += seconds
        self.reconciler.round()

    def job(self, sweep_id: str) -> Job:
        return self.service.sweeps.get(sweep_id)

    def hear(self, sweep_id: str) -> None:
        """Its driver gives a sign."""
        self.service.progress.record(sweep_id, self.job(sweep_id).attempt, DriverReport())

    def ends(self, sweep_id: str, state: JobState = JobState.SUCCEEDED) -> None:
        """Its driver says how it ended and goes."""
        job = self.job(sweep_id)
        self.service.progress.end(
            sweep_id, job.attempt, DriverReport(), state, "the driver said so"
        )
        self.cluster.ends(f"{sweep_id}-{job.attempt}", "SUCCEEDED: ")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House.opened(tmp_path) as made:
        yield made


def test_a_sweep_is_launched_once_and_its_driver_says_how_it_ends(house: House) -> None:
    sweep_id = house.submit()
    house.round()
    assert (house.job(sweep_id).state, house.job(sweep_id).attempt) == (JobState.STARTING, 1)
    for _ in range(3):
        house.round()
    house.hear(sweep_id)
    house.round()
    assert house.job(sweep_id).state is JobState.RUNNING
    house.ends(sweep_id)
    house.round()
    assert house.job(sweep_id).state is JobState.SUCCEEDED
    assert [launch.name for launch in house.cluster.launches] == [f"{sweep_id}-1"]


@pytest.mark.parametrize("where", ["crash_before", "crash_after"])
def test_a_service_that_dies_while_launching_neither_loses_a_sweep_nor_starts_it_twice(
    house: House, where: str
) -> None:
    sweep_id = house.submit()
    setattr(house.cluster, where, True)
    with pytest.raises(CrashedError):
        house.round()
    assert house.job(sweep_id).state is JobState.STARTING
    setattr(house.cluster, where, False)
    house.restart()
    for _ in range(3):
        house.round()
    assert [launch.name for launch in house.cluster.launches] == [f"{sweep_id}-1"]
    house.hear(sweep_id)
    assert house.job(sweep_id).state is JobState.RUNNING


def test_an_attempt_that_was_never_submitted_waits_until_a_node_has_joined(house: House) -> None:
    sweep_id = house.submit()
    house.cluster.crash_before = True
    with pytest.raises(CrashedError):
        house.round()
    house.cluster.crash_before = False
    house.restart()
    for cpus, launched in ((0.0, 0), (0.0, 0), (1.0, 1)):  # with the cluster
        house.cluster.cpus = cpus
        house.round()
        assert len(house.cluster.launches) == launched
    assert house.job(sweep_id).state is JobState.STARTING


class TestHandover:
    """What a driver needs lies in its sweep's folder before its job begins, and not after it."""

    def given(self, house: House, sweep_id: str) -> DriverConfig | None:
        file = house.folder / "sweeps" / sweep_id / "driver.json"
        return DriverConfig.model_validate_json(file.read_bytes()) if file.exists() else None

    def test_each_attempt_is_given_its_own_token(self, house: House) -> None:
        sweep_id = house.submit()
        seen = []
        for attempt in (1, 2):
            house.round()
            found = self.given(house, sweep_id)
            assert found is not None
            seen.append(found.token)
            scope = house.service.sweep_tokens.read(found.token)
            assert scope == SweepScope(sweep_id, attempt)
            house.cluster.ends(f"{sweep_id}-{attempt}")
        assert found.api_url == "http://api:8080"
        assert seen[0] != seen[1]

    def test_it_is_there_before_the_job_is(self, house: House) -> None:
        sweep_id = house.submit()
        house.cluster.crash_before = True
        with pytest.raises(CrashedError):
            house.round()
        before = self.given(house, sweep_id)
        house.cluster.crash_before = False
        house.restart()
        house.round()
        assert before is not None
        assert self.given(house, sweep_id) == before

    def test_it_is_taken_back_from_a_driver_that_never_came(self, house: House) -> None:
        sweep_id = house.submit()
        house.round()
        house.service.cancel(ANN, sweep_id)
        house.cluster.ends(f"{sweep_id}-1")
        house.round()
        assert house.job(sweep_id).state is JobState.CANCELLED
        assert self.given(house, sweep_id) is None

    def test_a_folder_that_cannot_be_written_fails_its_sweep_and_no_other(
        self, house: House
    ) -> None:
        file, link, fine = house.submit(), house.submit(), house.submit()
        sweeps = house.folder / "sweeps"
        sweeps.mkdir()
        (sweeps / file).touch()
        (house.folder / "elsewhere").mkdir()
        (sweeps / link).symlink_to(house.folder / "elsewhere")
        for _ in range(4):
            house.round()
        for sweep_id in (file, link):
            job = house.job(sweep_id)
            assert job.state is JobState.FAILED
            assert job.cause is not None
            assert f"{sweep_id} cannot be written" in job.cause
        assert list((house.folder / "elsewhere").iterdir()) == []
        assert house.job(fine).state is JobState.STARTING

    def test_a_full_disk_fails_no_sweep(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        sweep_id = house.submit()
        with monkeypatch.context() as patched:
            patched.setattr(driver_config, "write", fail)
            house.round()
            house.round()
            assert house.job(sweep_id).state is JobState.STARTING
            assert house.cluster.launches == []
        house.round()
        assert self.given(house, sweep_id) is not None
        assert [launch.name for launch in house.cluster.launches] == [f"{sweep_id}-1"]


def test_a_sweep_whose_driver_dies_is_resumed_so_often_and_no_more(house: House) -> None:
    sweep_id = house.submit()
    for death in (1, 2):
        house.round()
        house.hear(sweep_id)
        house.cluster.ends(f"{sweep_id}-{death}")
        house.round()
        job = house.job(sweep_id)
        assert (job.state, job.attempt, job.failures) == (JobState.STARTING, death + 1, death)
        causes = [t.cause for t in house.service.sweeps.history(sweep_id)]
        assert f"its driver died ({WHY}); the sweep will continue" in causes
    house.cluster.ends(f"{sweep_id}-3")
    house.round()
    job = house.job(sweep_id)
    assert job.state is JobState.FAILED
    assert job.cause == f"its driver did not start 3 times, the last time: {WHY}"
    house.service.retry(ANN, sweep_id)
    house.round()
    assert (house.job(sweep_id).state, house.job(sweep_id).failures) == (JobState.STARTING, 0)


def test_a_driver_that_is_not_heard_counts_as_dead_whatever_the_cluster_says(house: House) -> None:
    sweep_id = house.submit()
    house.round()
    house.round(STARTUP_TIMEOUT - 5)
    assert house.job(sweep_id).state is JobState.STARTING
    house.hear(sweep_id)
    house.round(HEARTBEAT_TIMEOUT - 5)
    assert house.job(sweep_id).attempt == 1
    house.round(10)
    assert house.cluster.stopped == [f"{sweep_id}-1"]
    assert house.job(sweep_id).attempt == 2


def test_silence_does_not_count_while_the_store_or_the_cluster_was_away(house: House) -> None:
    sweep_id = house.submit()
    house.round()
    house.hear(sweep_id)
    house.cluster.away = True
    house.clock.now += 10 * HEARTBEAT_TIMEOUT
    with pytest.raises(ClusterUnavailableError):
        house.reconciler.round()
    house.reconciler.reset_timeouts()
    house.cluster.away = False
    house.round()
    assert (house.job(sweep_id).state, house.job(sweep_id).attempt) == (JobState.RUNNING, 1)


def test_a_cluster_that_was_restarted_gets_the_sweep_again_and_that_is_no_death(
    house: House,
) -> None:
    sweep_id = house.submit()
    house.round()
    house.hear(sweep_id)
    house.cluster.jobs.clear()
    house.round()
    job = house.job(sweep_id)
    assert (job.state, job.attempt, job.failures) == (JobState.STARTING, 2, 0)


@pytest.mark.parametrize("forgotten", [True, False])
def test_a_sweep_that_ends_while_the_cluster_is_asked_is_not_queued_again(
    house: House, forgotten: bool
) -> None:
    sweep_id = house.submit()
    house.round()
    house.hear(sweep_id)
    house.cluster.ends(f"{sweep_id}-1")
    if forgotten:
        house.cluster.jobs.clear()

    def succeed() -> None:
        house.cluster.meanwhile = lambda: None
        house.service.progress.end(sweep_id, 1, DriverReport(), JobState.SUCCEEDED, "it ended")

    house.cluster.meanwhile = succeed
    house.round()
    assert (house.job(sweep_id).state, house.job(sweep_id).attempt) == (JobState.SUCCEEDED, 1)


def test_a_driver_that_started_and_does_not_report_is_stopped_with_that_word(house: House) -> None:
    sweep_id = house.submit()
    house.round()
    house.round()
    house.round(STARTUP_TIMEOUT + 1)
    job = house.job(sweep_id)
    assert house.cluster.stopped == [f"{sweep_id}-1"]
    assert (job.state, job.attempt) == (JobState.STARTING, 2)
    (cause,) = [t.cause for t in house.service.sweeps.history(sweep_id) if "driver" in t.cause]
    assert f"did not start (it did not report within {STARTUP_TIMEOUT:.0f} s" in cause
    assert "it broke" in cause


def pend(house: House, sweep_id: str) -> None:
    """The cluster has not begun to run the sweep's driver."""
    name = f"{sweep_id}-{house.job(sweep_id).attempt}"
    house.cluster.jobs[name] = JobStatus(False, "PENDING: no worker yet", begun=False)


def test_a_driver_that_the_cluster_cannot_start_gives_its_place_back(tmp_path: Path) -> None:
    with House.opened(tmp_path) as house:
        house._limits = QueueLimits(running=1)
        house.restart()
        stuck, waiting = house.submit(), house.submit(BOB)
        house.round()
        pend(house, stuck)
        house.round(PLACE_TIMEOUT - 5)
        assert house.job(waiting).state is JobState.QUEUED
        house.round(10)
        assert house.job(waiting).state is JobState.STARTING
        house.hear(waiting)
        house.ends(waiting)
        house.round(PENDING_TIMEOUT - PLACE_TIMEOUT - 20)
        assert house.cluster.stopped == []
        house.cluster.cpus = 0.5  # nothing starts
        house.round(30)
        assert house.cluster.stopped == [f"{stuck}-1"]
        causes = [t.cause for t in house.service.sweeps.history(stuck)]
        assert any("within 600 s: PENDING: no worker yet" in cause for cause in causes)


def test_a_driver_that_fails_to_start_twice_for_one_reason_is_not_tried_again(house: House) -> None:
    sweep_id = house.submit()
    house.cluster.log = ""
    for attempt, node in ((1, "90f05913eb9a2576"), (2, "aabbccdd00112233")):
        house.round()
        house.cluster.ends(
            f"{sweep_id}-{attempt}",
            "FAILED: worker startup repeatedly failed.\nSee raylet.err on node " + node,
        )
    house.round()
    job = house.job(sweep_id)
    assert (job.state, job.attempt) == (JobState.FAILED, 2)
    assert job.cause == (
        "its driver did not start, twice for the same reason: "
        "FAILED: worker startup repeatedly failed."
    )
    house.service.retry(ANN, sweep_id)
    house.round()
    house.cluster.ends(f"{sweep_id}-3", "FAILED: worker startup repeatedly failed.")
    house.round()
    assert house.job(sweep_id).state is JobState.STARTING  # what a user did begins anew


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("nobody foresaw that"), ClusterUnavailableError("status 500")]
)
def test_a_sweep_that_cannot_be_handled_stops_no_other(
    house: House, error: Exception, logs: LogRecords
) -> None:
    first, second = house.submit(), house.submit()
    house.round()
    house.cluster.broken[f"{first}-1"] = error
    third = house.submit()
    for _ in range(3):
        house.hear(second)
        house.round()
    assert house.job(third).state is JobState.STARTING
    assert house.job(second).state is JobState.RUNNING
    assert sum("cannot be handled" in r.getMessage() for r in logs.records) == 1
    house.round(TROUBLE_TIMEOUT)
    job = house.job(first)
    assert job.state is JobState.FAILED
    assert "cannot look after it" in (job.cause or "")


def test_a_clock_that_was_set_back_neither_kills_nor_protects_a_driver(house: House) -> None:
    sweep_id = house.submit()
    house.round()
    house.hear(sweep_id)
    house.clock.now -= 3600.0
    house.round()
    assert house.job(sweep_id).attempt == 1
    house.round(HEARTBEAT_TIMEOUT + 10)
    assert house.job(sweep_id).attempt == 2


def test_a_job_that_the_cluster_does_not_take_fails_with_its_words(house: House) -> None:
    sweep_id = house.submit()
    house.cluster.refuses = True
    house.round()
    job = house.job(sweep_id)
    assert job.state is JobState.FAILED
    assert job.cause == "the cluster does not take the job: it is too large"


class TestWishes:
    """What a person wants of a sweep on the cluster."""

    def test_a_driver_that_does_not_obey_is_stopped_and_the_wish_fulfilled(
        self, house: House
    ) -> None:
        sweep_id = house.submit()
        house.round()
        house.hear(sweep_id)
        house.service.cancel(ANN, sweep_id)
        house.round()
        house.round(STOP_GRACE - 5)
        assert house.cluster.stopped == []
        house.round(10)
        assert house.cluster.stopped == [f"{sweep_id}-1"]
        house.round()
        assert house.job(sweep_id).state is JobState.CANCELLED

    def test_a_driver_that_dies_while_it_is_to_pause_leaves_a_paused_sweep(
        self, house: House
    ) -> None:
        sweep_id = house.submit()
        house.round()
        house.hear(sweep_id)
        house.service.pause(ANN, sweep_id)
        house.cluster.ends(f"{sweep_id}-1")
        house.round()
        assert house.job(sweep_id).state is JobState.PAUSED
        house.service.resume(ANN, sweep_id)
        house.round()
        assert (house.job(sweep_id).state, house.job(sweep_id).attempt) == (JobState.STARTING, 2)

    def test_a_sweep_that_was_never_submitted_is_cancelled_without_a_driver(
        self, house: House
    ) -> None:
        sweep_id = house.submit()
        house.cluster.crash_before = True
        with pytest.raises(CrashedError):
            house.round()
        house.service.cancel(ANN, sweep_id)
        house.cluster.crash_before = False
        house.round()
        assert house.job(sweep_id).state is JobState.CANCELLED
        assert house.cluster.launches == []


class TestTurns:
    """Limits, dependencies, shares."""

    def test_limits_bound_what_is_on_the_cluster(self, tmp_path: Path) -> None:
        house = House(tmp_path, QueueLimits(running=3, running_per_user=2))
        sweeps = [house.submit() for _ in range(4)] + [house.submit(BOB) for _ in range(2)]
        house.round()
        on = [s for s in sweeps if house.job(s).state is JobState.STARTING]
        assert sorted(house.job(s).owner for s in on) == ["ann", "ann", "bob"]
        house.hear(on[0])
        house.ends(on[0])
        house.round()
        assert sum(house.job(s).state is JobState.STARTING for s in sweeps) == 3

    def test_a_sweep_waits_for_those_it_comes_after(self, house: House) -> None:
        first = house.submit()
        second = house.submit(after=[first])
        house.round()
        assert house.job(second).state is JobState.QUEUED
        house.hear(first)
        house.ends(first)
        house.round()
        assert house.job(second).state is JobState.STARTING

    @pytest.mark.parametrize("end", [JobState.FAILED, JobState.CANCELLED])
    def test_it_fails_with_what_it_waits_for(self, house: House, end: JobState) -> None:
        first = house.submit()
        second = house.submit(after=[first])
        house.round()
        house.hear(first)
        house.ends(first, end)
        house.round()
        job = house.job(second)
        assert job.state is JobState.FAILED
        assert job.cause == f"{first}, which it waited for, is {end}"

    def test_what_runs_gives_way_to_what_comes(self, house: House) -> None:
        house.cluster.cpus = 4.0
        first = house.submit(concurrent=8)
        house.round()
        assert house.job(first).slots == 4
        second = house.submit(BOB, concurrent=8)
        house.round()
        assert (house.job(first).slots, house.job(second).slots) == (2, 2)
        house.hear(second)
        house.ends(second)
        house.round()
        assert house.job(first).slots == 4
        house.cluster.cpus = 1.0
        house.round()
        assert house.job(first).slots == 1

    def test_another_process_goes_on_with_the_same_shares(self, house: House) -> None:
        first = house.submit(concurrent=8)
        house.round()
        house.restart()
        house.service.sweeps.set_slots({first: 1})
        house.round()
        assert house.job(first).slots == 8
