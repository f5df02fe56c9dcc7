"""What is deleted from the store, and what is not, over SQLite and over PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from service.base.errors import (
    BundleNotFoundError,
    ConflictError,
    IllegalTransitionError,
    SweepNotFoundError,
)
from service.client.job_states import JobState
from service.server.store import deletion_store
from service.server.store.bundle_store import BundleStore
from service.server.store.database import Database
from service.server.store.deletion_store import DeletionStore
from service.server.store.job_records import DriverReport, Submission
from service.server.store.progress_store import ProgressStore
from service.server.store.storage_store import StorageStore
from service.server.store.sweep_store import SweepStore
from service.server.store.tables import Base
from service.server.store.webhook_store import WebhookStore
from service.study.events import EpochEnded, TrialStarted
from service.study.records import Epoch, Role, Trial, TrialState
from tests.stores import Clock


@pytest.fixture
def deletions(database: Database, clock: Clock) -> DeletionStore:
    return DeletionStore(database, clock)


@pytest.fixture
def storage(database: Database, clock: Clock) -> StorageStore:
    return StorageStore(database, clock)


def submit(sweeps: SweepStore, sweep_id: str, **more: object) -> None:
    facts: dict[str, object] = {"name": "digits", "owner": "ann", "spec": "name: x", **more}
    sweeps.submit(Submission(sweep_id=sweep_id, **facts))  # type: ignore[arg-type]  # each test names its own


def end(sweeps: SweepStore, sweep_id: str, state: JobState = JobState.SUCCEEDED) -> None:
    sweeps.change(sweep_id, JobState.STARTING, "selected", "queue", attempt=1)
    sweeps.change(sweep_id, state, "it ended", "driver")


def run(sweeps: SweepStore, progress: ProgressStore, sweep_id: str, trials: int = 3) -> None:
    """A sweep with rows in every table that has rows of sweeps."""
    submit(sweeps, sweep_id)
    sweeps.change(sweep_id, JobState.STARTING, "selected", "queue", attempt=1)
    for number in range(trials):
        trial = Trial(number=number, state=TrialState.RUNNING, role=Role.SEARCH, params={})
        epochs = [Epoch(trial=number, epoch=e, time=1.0, metrics={}) for e in (1, 2)]
        events = [TrialStarted(trial=trial), *(EpochEnded(epoch=e) for e in epochs)]
        report = DriverReport(trials=[trial], epochs=epochs, events=events)
        progress.record(sweep_id, 1, report)
    sweeps.change(sweep_id, JobState.SUCCEEDED, "it ended", "driver")


def count_rows(database: Database, sweep_id: str) -> dict[str, int]:
    """The rows of each table that are a sweep's."""
    columns = {t.name: t.c.sweep_id for t in Base.metadata.sorted_tables if "sweep_id" in t.c}
    columns["sweeps"] = Base.metadata.tables["sweeps"].c.id
    with database.reading() as session:
        return {
            name: int(session.scalar(select(func.count()).where(column == sweep_id)) or 0)
            for name, column in columns.items()
        }


class TestSweeps:
    """A sweep goes in two steps, the second of which may be interrupted."""

    def test_all_rows_of_a_sweep_go_and_nobody_elses(
        self,
        database: Database,
        sweeps: SweepStore,
        progress: ProgressStore,
        deletions: DeletionStore,
    ) -> None:
        run(sweeps, progress, "digits-1")
        run(sweeps, progress, "digits-2")
        before = count_rows(database, "digits-2")
        assert before == count_rows(database, "digits-1")
        assert all(before.values()), before
        deletions.mark("digits-1", "ann", "deleted")
        deletions.forget("digits-1")
        assert not any(count_rows(database, "digits-1").values())
        assert count_rows(database, "digits-2") == before
        with pytest.raises(SweepNotFoundError):
            sweeps.get("digits-1")

    def test_rows_go_in_parts_and_an_interrupted_deletion_is_done_again(
        self,
        database: Database,
        sweeps: SweepStore,
        progress: ProgressStore,
        deletions: DeletionStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(deletion_store, "_ROWS", 2)
        run(sweeps, progress, "digits-1")
        deletions.mark("digits-1", "ann", "deleted")
        real, calls = deletions._delete_some, iter(range(3))

        def die(table: object, sweep_id: str) -> int:
            next(calls)
            return real(table, sweep_id)  # type: ignore[arg-type]  # a table

        monkeypatch.setattr(deletions, "_delete_some", die)
        with pytest.raises(StopIteration):
            deletions.forget("digits-1")
        monkeypatch.undo()
        assert sweeps.get("digits-1").state is JobState.DELETING
        assert [job.sweep_id for job in deletions.list_marked(10)] == ["digits-1"]
        deletions.forget("digits-1")
        deletions.forget("digits-1")
        assert not any(count_rows(database, "digits-1").values())
        assert deletions.list_marked(10) == ()

    def test_one_that_has_not_ended_is_refused_and_a_second_time_it_is_not_there(
        self, sweeps: SweepStore, deletions: DeletionStore
    ) -> None:
        submit(sweeps, "digits-1")
        with pytest.raises(IllegalTransitionError, match=r"is queued.*gapsweep cancel digits-1"):
            deletions.mark("digits-1", "ann", "deleted")
        deletions.forget("digits-1")  # which is for those that are marked
        sweeps.change("digits-1", JobState.CANCELLED, "enough", "ann")
        deletions.mark("digits-1", "ann", "deleted")
        with pytest.raises(SweepNotFoundError, match="no sweep 'digits-1': it is being deleted"):
            deletions.mark("digits-1", "ann", "deleted")
        with pytest.raises(IllegalTransitionError):
            sweeps.change("digits-1", JobState.QUEUED, "retried", "ann")
        with pytest.raises(SweepNotFoundError, match="it is being deleted"):
            submit(sweeps, "digits-2", after=("digits-1",))

    def test_one_that_others_wait_for_stays_until_they_have_ended(
        self, sweeps: SweepStore, deletions: DeletionStore, clock: Clock
    ) -> None:
        submit(sweeps, "digits-1")
        end(sweeps, "digits-1")
        for number in range(2, 7):
            submit(sweeps, f"digits-{number}", after=("digits-1",))
        words = "digits-2, digits-3, digits-4 and 2 more start after it; cancel them first"
        with pytest.raises(ConflictError, match=words):
            deletions.mark("digits-1", "ann", "deleted")
        assert deletions.list_ended(clock.now + 1, 10) == ()
        for number in range(2, 7):
            sweeps.change(f"digits-{number}", JobState.CANCELLED, "enough", "ann")
        assert "digits-1" in deletions.list_ended(clock.now + 1, 10)
        deletions.mark("digits-1", "ann", "deleted")

    def test_those_that_ended_first_are_found_first_and_so_many_at_most(
        self, sweeps: SweepStore, deletions: DeletionStore, clock: Clock
    ) -> None:
        for number in (2, 1, 3, 4):
            submit(sweeps, f"digits-{number}")
            end(sweeps, f"digits-{number}", JobState.FAILED if number == 1 else JobState.SUCCEEDED)
            clock.now += 10
        submit(sweeps, "digits-5")
        assert deletions.list_ended(clock.now - 10, 2) == ("digits-2", "digits-1")
        assert deletions.list_ended(clock.now - 10, 9) == ("digits-2", "digits-1", "digits-3")

    def test_numbers_of_events_are_not_given_again(
        self,
        sweeps: SweepStore,
        progress: ProgressStore,
        webhooks: WebhookStore,
        deletions: DeletionStore,
    ) -> None:
        """A webhook or a listener that has heard of the last event would miss the next ones."""
        webhooks.set_urls(["http://a/"])
        submit(sweeps, "digits-1")
        end(sweeps, "digits-1")
        deletions.mark("digits-1", "ann", "deleted")
        assert not deletions.is_announced("digits-1")
        last = progress.events("digits-1")[-1].number
        webhooks.mark_delivered("http://a/", last)
        assert deletions.is_announced("digits-1")
        deletions.forget("digits-1")
        submit(sweeps, "digits-2")
        heard = webhooks.next_change(webhooks.due()[0].event)
        assert heard is not None
        assert heard.sweep_id == "digits-2"


class TestBundles:
    """Code that no sweep has, some time after its last upload."""

    def test_those_without_a_sweep_go_after_a_time(
        self, sweeps: SweepStore, bundles: BundleStore, deletions: DeletionStore, clock: Clock
    ) -> None:
        used, unused, fresh = ("a" * 64, "b" * 64, "c" * 64)
        for digest in (used, unused, fresh):
            bundles.add(digest, "ann", 10, ["mine"])
        submit(sweeps, "digits-1", bundle=used)
        clock.now += 100
        bundles.add(fresh, "bob", 10, ["mine"])  # uploaded again: its sweep may follow
        assert deletions.delete_unused_bundles(clock.now - 50) == (unused,)
        with pytest.raises(BundleNotFoundError):
            bundles.get(unused)
        assert deletions.list_bundles() == {used, fresh}


class TestSizes:
    """What sweeps take on the disk."""

    def test_a_sweep_is_measured_first_then_when_it_changed_and_while_it_runs(
        self, sweeps: SweepStore, storage: StorageStore, clock: Clock
    ) -> None:
        for number in (1, 2):
            submit(sweeps, f"digits-{number}")
        assert set(storage.list_unmeasured(60, 10)) == {"digits-1", "digits-2"}
        assert len(storage.list_unmeasured(60, 1)) == 1
        clock.now += 1
        storage.record_size("digits-1", 10)
        storage.record_size("digits-2", 20)
        assert sweeps.get("digits-2").size == 20
        assert storage.list_unmeasured(60, 10) == ()
        clock.now += 1
        sweeps.change("digits-2", JobState.STARTING, "selected", "queue", attempt=1)
        assert storage.list_unmeasured(60, 10) == ("digits-2",)
        clock.now += 1
        storage.record_size("digits-2", 30)
        clock.now += 50
        assert storage.list_unmeasured(60, 10) == ()
        clock.now += 11
        assert storage.list_unmeasured(60, 10) == ("digits-2",)  # it grows; digits-1 does not

    def test_a_user_has_the_bytes_of_sweeps_and_of_bundles(
        self, sweeps: SweepStore, bundles: BundleStore, storage: StorageStore
    ) -> None:
        assert storage.stored_bytes_of("ann") == 0
        submit(sweeps, "digits-1")
        submit(sweeps, "digits-2", owner="bob")
        storage.record_size("digits-1", 10)
        bundles.add("a" * 64, "ann", 5, ["mine"])
        assert storage.stored_bytes_of("ann") == 15
        assert storage.stored_bytes() == {"ann": 15, "bob": 0}
