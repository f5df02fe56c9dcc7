"""What the store promises, over SQLite and over PostgreSQL."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from service.base.errors import (
    BundleNotFoundError,
    DatabaseSetupError,
    DatabaseUnavailableError,
    IllegalTransitionError,
    InputError,
    StaleDriverError,
    SweepNotFoundError,
    TrialNotFoundError,
)
from service.client.job_states import JobState, RequestedAction
from service.client.sweep_events import StateChanged
from service.server.store.bundle_store import BundleStore
from service.server.store.database import Database, alembic_configuration
from service.server.store.job_records import (
    Bundle,
    DriverReport,
    Instructions,
    Job,
    Submission,
    Webhook,
)
from service.server.store.lease_store import LeaseStore
from service.server.store.progress_store import ProgressStore
from service.server.store.sweep_store import SweepStore
from service.server.store.tables import Base
from service.server.store.transitions import find_row, transition
from service.server.store.webhook_store import WebhookStore
from service.study.events import BestImproved, EpochEnded, TrialEnded, TrialEvent, TrialStarted
from service.study.records import Epoch, Role, Trial, TrialState
from tests.log_records import LogRecords
from tests.patience import patience
from tests.stores import Clock


def submit(sweeps: SweepStore, sweep_id: str, owner: str = "ann", **more: object) -> Job:
    facts: dict[str, object] = {"name": sweep_id.partition("-")[0], "spec": "name: x", **more}
    return sweeps.submit(Submission(sweep_id=sweep_id, owner=owner, **facts))  # type: ignore[arg-type]  # each test names its own


def launch(sweeps: SweepStore, sweep_id: str, owner: str = "ann") -> None:
    submit(sweeps, sweep_id, owner)
    sweeps.change(sweep_id, JobState.STARTING, "selected", "queue", attempt=1)


def test_a_schema_is_checked_and_brought_up_to_date(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(DatabaseSetupError, match=r"at migration none.*gapsweep migrate"):
        database.check()
    database.upgrade()
    database.check()
    database.upgrade()


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    with database.reading() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Base.metadata) == []


def at_first_migration(database: Database) -> None:
    """Its tables as the first version made them, with a sweep that runs."""
    with database.connecting() as connection:
        command.upgrade(alembic_configuration(connection), "0001")
        for statement in (
            "INSERT INTO users (name, role, created) VALUES ('ann', 'user', 1.0)",
            "INSERT INTO sweeps (id, name, owner, state, created, changed, spec, priority, "
            '"after", turn, failures, more_trials, slot_seconds, gpu_hours, progress) VALUES '
            "('digits-1', 'digits', 'ann', 'running', 1.0, 2.0, 'name: digits', 3, "
            "'[]', 1, 0, 5, 7.5, 0.5, '{\"complete\": 2}')",
            'INSERT INTO transitions (sweep_id, time, new, cause, "by") VALUES '
            "('digits-1', 1.0, 'queued', 'submitted', 'ann')",
            "INSERT INTO events (sweep_id, time, kind, data) VALUES "
            "('digits-1', 1.0, 'trial started', '{\"trial\": 0}')",
            "INSERT INTO trials (sweep_id, number, state, role, seconds, facts) VALUES "
            "('digits-1', 0, 'running', 'search', 0.0, '{\"params\": {}, \"best\": {}}')",
        ):
            connection.exec_driver_sql(statement)


def test_a_check_keeps_nothing_in_memory(database: Database) -> None:
    """A probe asks for it every few seconds, for as long as the server runs."""
    database.check()
    cached = len(database._engine._compiled_cache or ())
    for _ in range(3):
        database.check()
    assert len(database._engine._compiled_cache or ()) == cached


def test_a_database_of_an_older_version_is_refused_with_what_to_run(empty: Database) -> None:
    at_first_migration(empty)
    words = r"at migration 0001, this version needs \d+; run: gapsweep migrate --database-url "
    with pytest.raises(DatabaseSetupError, match=words) as caught:
        empty.check()
    assert empty.url in str(caught.value)  # it has no password


def test_a_database_of_a_newer_version_is_refused_as_such(empty: Database) -> None:
    at_first_migration(empty)
    with empty.connecting() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for use in (empty.check, empty.upgrade):
        with pytest.raises(DatabaseSetupError, match="at migration 9999, which a newer version"):
            use()


def test_a_migration_keeps_what_there_is(empty: Database, clock: Clock) -> None:
    at_first_migration(empty)
    empty.upgrade()
    empty.check()
    sweeps, progress = SweepStore(empty, clock), ProgressStore(empty, clock)
    job = sweeps.get("digits-1")
    assert (job.state, job.priority, job.more_trials) == (JobState.RUNNING, 3, 5)
    assert (job.slot_seconds, job.progress, job.slots) == (7.5, {"complete": 2}, None)
    assert [t.cause for t in sweeps.history("digits-1")] == ["submitted"]
    assert [t.number for t in progress.trials("digits-1")] == [0]
    (event,) = progress.events("digits-1")
    assert event.event == TrialStarted(
        trial=Trial(number=0, state=TrialState.RUNNING, role=Role.SEARCH, params={})
    )
    progress.end("digits-1", 1, started(1), JobState.SUCCEEDED, "it ended")
    kinds = [e.event.kind for e in progress.events("digits-1", after=event.number)]
    assert kinds == ["trial_started", "state_changed"]
    with empty.reading() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Base.metadata) == []


def at_second_migration(database: Database) -> None:
    """A sweep in the second version's tables: a driver that is to pause, and its events."""
    at_first_migration(database)
    with database.connecting() as connection:
        command.upgrade(alembic_configuration(connection), "0002")
        for statement in (
            "UPDATE sweeps SET state = 'pausing', wish = 'pause', wished_by = 'bob', turn = 4, "
            "failures = 3, launched = 3.5, heard = 9.25, slots = 2 WHERE id = 'digits-1'",
            "INSERT INTO sweeps (id, name, owner, state, created, changed, spec, priority, "
            '"after", turn, failures, more_trials, slot_seconds, gpu_hours, progress) VALUES '
            "('digits-2', 'digits', 'ann', 'queued', 1.0, 2.0, 'name: digits', 0, "
            "'[\"digits-1\"]', 0, 0, 0, 0.0, 0.0, '{}')",
        ):
            connection.exec_driver_sql(statement)


def test_renamed_columns_keep_their_values(empty: Database, clock: Clock) -> None:
    at_second_migration(empty)
    empty.upgrade()
    empty.check()
    sweeps, progress = SweepStore(empty, clock), ProgressStore(empty, clock)
    job, waiting = sweeps.get("digits-1"), sweeps.get("digits-2")
    assert (job.requested_action, job.requested_by) == (RequestedAction.PAUSE, "bob")
    assert (job.attempt, job.failures, job.launched, job.last_heartbeat) == (4, 3, 3.5, 9.25)
    assert (waiting.requested_action, waiting.requested_by) == (None, None)
    assert (waiting.attempt, waiting.last_heartbeat, waiting.after) == (0, None, ("digits-1",))
    instructions = progress.record("digits-1", 4, DriverReport())
    assert instructions == Instructions(requested_action=RequestedAction.PAUSE, slots=2)
    assert sweeps.get("digits-1").last_heartbeat == clock.now
    with pytest.raises(StaleDriverError, match="attempt 3 is over"):
        progress.record("digits-1", 3, DriverReport())
    with empty.reading() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Base.metadata) == []


def test_events_of_older_versions_are_read_as_typed_ones(empty: Database, clock: Clock) -> None:
    at_second_migration(empty)
    trial_rows = (
        "INSERT INTO trials (sweep_id, number, state, role, seconds, facts) VALUES "
        f"('digits-1', {n}, '{state}', '{role}', 2.5, "
        '\'{"params": {"dropout": 0.5}, "best": {}}\')'
        for n, state, role in ((1, "complete", "baseline"), (2, "pruned", "search"))
    )
    events = (
        ("state changed", None, '{"old": "queued", "new": "starting", "cause": "c", "by": "q"}'),
        (
            "trial started",
            "trial started 1",
            '{"trial": 1, "params": {"x": 1}, "role": "baseline"}',
        ),
        ("epoch", "epoch 1 2", '{"trial": 1, "epoch": 2, "metrics": {"val/loss": "nan"}}'),
        (
            "trial completed",
            "trial completed 1",
            '{"trial": 1, "value": 0.5, "reason": null, "best": {"val/loss": 0.5}}',
        ),
        ("best improved", "best improved 1", '{"trial": 1, "value": 0.5, "best": {}}'),
        (
            "trial pruned",
            "trial pruned 2",
            '{"trial": 2, "value": null, "reason": "slow", "best": {}}',
        ),
        (
            "trial failed",
            "trial failed 3",
            '{"trial": 3, "value": null, "reason": "nan", "best": {}}',
        ),
    )
    with empty.connecting() as connection:
        for row in trial_rows:
            connection.exec_driver_sql(row)
        for time, (kind, key, data) in enumerate(events, start=20):
            connection.execute(
                text(
                    "INSERT INTO events (sweep_id, time, kind, key, data) "
                    "VALUES ('digits-1', :time, :kind, :key, :data)"
                ),
                {"time": float(time), "kind": kind, "key": key, "data": data},
            )
    empty.upgrade()
    progress = ProgressStore(empty, clock)
    whole = progress.events("digits-1")
    _, changed, began, epoch, ended, best, pruned, failed = (stored.event for stored in whole)
    assert changed == StateChanged(
        time=20.0, old=JobState.QUEUED, new=JobState.STARTING, cause="c", by="q"
    )
    assert isinstance(began, TrialStarted)
    assert (began.trial.number, began.trial.state) == (1, TrialState.RUNNING)
    assert (began.trial.role, began.trial.params) == (Role.BASELINE, {"x": 1})
    assert isinstance(epoch, EpochEnded)
    assert (epoch.epoch.trial, epoch.epoch.epoch, epoch.epoch.time) == (1, 2, 22.0)
    assert str(epoch.epoch.metrics["val/loss"]) == "nan"
    assert isinstance(ended, TrialEnded)
    assert (ended.trial.state, ended.trial.role) == (TrialState.COMPLETE, Role.BASELINE)
    assert (ended.trial.value, ended.trial.params) == (0.5, {"dropout": 0.5})
    assert isinstance(best, BestImproved)
    assert best.trial.number == 1
    assert isinstance(pruned, TrialEnded)
    assert (pruned.trial.state, pruned.trial.reason) == (TrialState.PRUNED, "slow")
    assert isinstance(failed, TrialEnded)
    assert (failed.trial.number, failed.trial.state) == (3, TrialState.FAILED)
    again: list[TrialEvent] = [began, epoch, ended, best, pruned, failed]
    progress.record("digits-1", 4, DriverReport(events=again))  # a driver from before reports anew
    assert [e.number for e in progress.events("digits-1")] == [e.number for e in whole]


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "oracle://nowhere"])
def test_what_is_no_database_is_refused_with_what_would_be(url: str) -> None:
    with pytest.raises(DatabaseSetupError, match=r"sqlite:///service\.db"):
        Database(url).check()


def test_a_database_that_does_not_answer_is_said_without_its_password() -> None:
    away = Database("postgresql+psycopg://ann:secret@127.0.0.1:9/none")
    with pytest.raises(DatabaseUnavailableError, match="does not answer") as caught:
        away.check()
    assert "secret" not in str(caught.value)


class TestSweeps:
    """States, traces, lists."""

    def test_a_life_leaves_its_trace(self, sweeps: SweepStore, clock: Clock) -> None:
        assert submit(sweeps, "digits-1").state is JobState.QUEUED
        clock.now += 5
        sweeps.change("digits-1", JobState.STARTING, "selected", "queue", attempt=1)
        sweeps.change("digits-1", JobState.RUNNING, "its driver was heard", "driver")
        job = sweeps.change("digits-1", JobState.SUCCEEDED, "it ended", "driver")
        assert (job.state, job.attempt, job.cause, job.changed) == (
            JobState.SUCCEEDED,
            1,
            "it ended",
            1005.0,
        )
        assert sweeps.get("digits-1") == job
        trace = [(t.old, t.new, t.by) for t in sweeps.history("digits-1")]
        assert trace == [
            (None, JobState.QUEUED, "ann"),
            (JobState.QUEUED, JobState.STARTING, "queue"),
            (JobState.STARTING, JobState.RUNNING, "driver"),
            (JobState.RUNNING, JobState.SUCCEEDED, "driver"),
        ]

    def test_a_change_that_is_not_legal_changes_nothing(self, sweeps: SweepStore) -> None:
        submit(sweeps, "digits-1")
        with pytest.raises(IllegalTransitionError, match=r"is queued and cannot become succeeded"):
            sweeps.change("digits-1", JobState.SUCCEEDED, "no", "ann")
        assert sweeps.get("digits-1").state is JobState.QUEUED
        assert len(sweeps.history("digits-1")) == 1

    def test_a_key_that_was_used_before_gives_the_sweep_of_then(self, sweeps: SweepStore) -> None:
        first = submit(sweeps, "digits-1", idempotency_key="k")
        assert submit(sweeps, "digits-2", idempotency_key="k") == first
        assert submit(sweeps, "digits-3", owner="bob", idempotency_key="k").sweep_id == "digits-3"
        assert submit(sweeps, "digits-4").sweep_id == "digits-4"

    def test_a_key_used_by_many_at_once_gives_one_sweep(self, sweeps: SweepStore) -> None:
        found: list[str] = []

        def one(number: int) -> None:
            found.append(submit(sweeps, f"digits-{number}", idempotency_key="k").sweep_id)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1

    def test_one_of_two_changes_at_once_is_refused(self, sweeps: SweepStore) -> None:
        submit(sweeps, "digits-1")
        ends: list[str] = []

        def start(name: str) -> None:
            try:
                sweeps.change("digits-1", JobState.STARTING, "selected", name)
                ends.append("changed")
            except IllegalTransitionError:
                ends.append("refused")

        threads = [threading.Thread(target=start, args=(str(n),)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ends) == ["changed"] + ["refused"] * 5
        assert len(sweeps.history("digits-1")) == 2

    def test_what_is_to_be_waited_for_must_be_there(self, sweeps: SweepStore) -> None:
        with pytest.raises(SweepNotFoundError, match="'digits-0'"):
            submit(sweeps, "digits-1", after=("digits-0",))
        submit(sweeps, "digits-0")
        assert submit(sweeps, "digits-1", after=("digits-0",)).after == ("digits-0",)
        with pytest.raises(SweepNotFoundError):
            sweeps.get("digits-2")

    def test_a_wish_is_for_what_is_on_the_cluster_and_a_cancel_outdoes_a_pause(
        self, sweeps: SweepStore
    ) -> None:
        submit(sweeps, "digits-1")
        with pytest.raises(IllegalTransitionError, match="is queued"):
            sweeps.request("digits-1", RequestedAction.CANCEL, "ann")
        sweeps.change("digits-1", JobState.STARTING, "selected", "queue")
        assert (
            sweeps.request("digits-1", RequestedAction.PAUSE, "ann").requested_action
            is RequestedAction.PAUSE
        )
        assert sweeps.request("digits-1", RequestedAction.CANCEL, "bob").requested_by == "bob"
        assert (
            sweeps.request("digits-1", RequestedAction.PAUSE, "ann").requested_action
            is RequestedAction.CANCEL
        )
        job = sweeps.change("digits-1", JobState.CANCELLED, "cancelled by bob", "reconciler")
        assert job.requested_action is None

    def test_pages_show_every_sweep_once_the_newest_first(
        self, sweeps: SweepStore, clock: Clock
    ) -> None:
        for number in range(7):
            submit(sweeps, f"digits-{number}", owner="ann" if number % 2 else "bob")
            clock.now += number % 3 == 0  # some of the same time
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = sweeps.page(limit=3, cursor=cursor)
            seen += [job.sweep_id for job in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert len(seen) == 7
        assert sorted(seen) == [f"digits-{n}" for n in range(7)]
        created = [sweeps.get(s).created for s in seen]
        assert created == sorted(created, reverse=True)

    def test_lists_are_filtered(self, sweeps: SweepStore) -> None:
        submit(sweeps, "digits-1")
        submit(sweeps, "tables-1", owner="bob")
        sweeps.change("tables-1", JobState.CANCELLED, "enough", "bob")

        def ids(**asked: object) -> list[str]:
            return [j.sweep_id for j in sweeps.page(**asked).items]  # type: ignore[arg-type]  # each line asks for its own

        assert ids(owner="bob") == ["tables-1"]
        assert ids(states=[JobState.QUEUED]) == ["digits-1"]
        assert ids(name="tables") == ["tables-1"]
        assert ids(owner="ann", name="tables") == []
        assert [j.sweep_id for j in sweeps.in_states(JobState.QUEUED)] == ["digits-1"]
        with pytest.raises(InputError, match="cursor"):
            ids(cursor="nonsense")

    def test_lists_are_filtered_by_the_beginning_of_ids(
        self, sweeps: SweepStore, clock: Clock
    ) -> None:
        for sweep_id in ("digits-1", "digits_1", "digits-2", "other-digits-1", "100%-1"):
            submit(sweeps, sweep_id)
            clock.now += 1

        def ids(prefix: str) -> list[str]:
            return [j.sweep_id for j in sweeps.page(prefix=prefix).items]

        assert ids("digits-") == ["digits-2", "digits-1"]
        assert ids("digits_") == ["digits_1"]
        assert ids("100%") == ["100%-1"]
        assert ids("%") == ids("_") == ids("igits") == []
        assert len(ids("")) == 5
        first = sweeps.page(prefix="digits", limit=2)
        assert [j.sweep_id for j in first.items] == ["digits-2", "digits_1"]
        rest = sweeps.page(prefix="digits", limit=2, cursor=first.cursor)
        assert [j.sweep_id for j in rest.items] == ["digits-1"]
        assert rest.cursor is None

    def test_the_beginning_of_an_id_is_that_in_its_own_letters(self, sweeps: SweepStore) -> None:
        submit(sweeps, "digits-1")
        assert sweeps.page(prefix="Digits").items == ()

    def test_nothing_has_a_name_with_a_nul_in_it(self, sweeps: SweepStore) -> None:
        """SQLite finds nothing, PostgreSQL takes no such text."""
        with pytest.raises(InputError):
            sweeps.get("digits\0")
        for asked in ("owner", "name", "prefix"):
            with suppress(InputError):
                assert sweeps.page(**{asked: "x\0"}).items == ()  # type: ignore[arg-type]  # all three are texts

    def test_sweeps_are_counted_by_state_with_those_that_have_none(
        self, sweeps: SweepStore
    ) -> None:
        assert sweeps.counts() == dict.fromkeys(JobState, 0)
        for number in range(3):
            submit(sweeps, f"digits-{number}")
        sweeps.change("digits-0", JobState.CANCELLED, "enough", "ann")
        expected = {JobState.QUEUED: 2, JobState.CANCELLED: 1}
        assert sweeps.counts() == {**dict.fromkeys(JobState, 0), **expected}

    def test_what_users_had_is_added_up(self, sweeps: SweepStore, progress: ProgressStore) -> None:
        for number, owner in enumerate(["ann", "ann", "bob"]):
            launch(sweeps, f"digits-{number}", owner=owner)
            told = DriverReport(slot_seconds=10.0, progress={"complete": 1})
            progress.record(f"digits-{number}", 1, told)
        assert sweeps.usage(since=1000.0) == {"ann": 20.0, "bob": 10.0}
        assert sweeps.usage(since=1001.0) == {}
        assert sweeps.get("digits-0").progress == {"complete": 1}
        assert sweeps.get("digits-0").last_heartbeat == 1000.0
        assert sweeps.counts()[JobState.RUNNING] == 3

    def test_a_driver_is_told_its_share_and_what_is_wished(
        self, sweeps: SweepStore, progress: ProgressStore
    ) -> None:
        launch(sweeps, "digits-1")
        assert progress.record("digits-1", 1, DriverReport()) == Instructions(
            requested_action=None, slots=None
        )
        assert sweeps.get("digits-1").state is JobState.RUNNING
        sweeps.set_slots({"digits-1": 3})
        sweeps.request("digits-1", RequestedAction.CANCEL, "ann")
        assert progress.record("digits-1", 1, DriverReport()) == Instructions(
            requested_action=RequestedAction.CANCEL, slots=3
        )
        progress.end(
            "digits-1", 1, DriverReport(progress={"pruned": 2}), JobState.CANCELLED, "cancelled"
        )
        job = sweeps.get("digits-1")
        assert (job.state, job.requested_action, job.slots) == (JobState.CANCELLED, None, None)
        assert job.progress == {"pruned": 2}
        assert sweeps.history("digits-1")[-1].by == "ann"

    def test_a_driver_whose_turn_is_over_changes_nothing(
        self, sweeps: SweepStore, progress: ProgressStore
    ) -> None:
        launch(sweeps, "digits-1")
        told = DriverReport(progress={"complete": 9}, trials=[trial(0)])
        for attempt in (0, 2):
            with pytest.raises(StaleDriverError):
                progress.record("digits-1", attempt, told)
            with pytest.raises(StaleDriverError):
                progress.end("digits-1", attempt, told, JobState.SUCCEEDED, "it ended")
        sweeps.change("digits-1", JobState.CANCELLED, "enough", "ann")
        with pytest.raises(StaleDriverError):
            progress.record("digits-1", 1, told)
        assert progress.trials("digits-1") == ()


def trial(number: int, **changes: object) -> Trial:
    facts: dict[str, object] = {
        "state": TrialState.COMPLETE,
        "role": Role.SEARCH,
        "params": {"penalty": "l1", "lambda": 0.1},
        "value": 0.5,
        "best": {"val/loss": 0.5, "gap/loss": float("nan")},
        "folds": ({"val/loss": 0.4}, {"val/loss": 0.6, "control/val/loss": float("inf")}),
        "ran_on": {"device": "CPU"},
        "seconds": 3.0,
        **changes,
    }
    return Trial(number=number, **facts)  # type: ignore[arg-type]  # each test names its own


def started(number: int) -> DriverReport:
    running = trial(number, state=TrialState.RUNNING, value=None, best={})
    return DriverReport(events=[TrialStarted(trial=running)])


class TestProgress:
    """Trials, epochs, events."""

    def test_what_is_told_comes_back_and_told_twice_is_the_same(
        self, sweeps: SweepStore, progress: ProgressStore
    ) -> None:
        launch(sweeps, "digits-1")
        epochs = [
            Epoch(trial=0, epoch=e, time=float(e), metrics={"val/loss": v})
            for e, v in ((1, 0.7), (2, float("inf")))
        ]
        running = trial(0, state=TrialState.RUNNING, value=None)
        progress.record("digits-1", 1, DriverReport(trials=[running], epochs=epochs[:1]))
        progress.record("digits-1", 1, DriverReport(trials=[trial(1), trial(0)], epochs=epochs))
        idle = trial(
            0, not_acting=("averaging",), without=("dropout",), role=Role.AUDIT, confirms=1
        )
        progress.record("digits-1", 1, DriverReport(trials=[idle], epochs=epochs))
        found = progress.trials("digits-1")
        assert [t.number for t in found] == [0, 1]
        assert found[0].params == {"penalty": "l1", "lambda": 0.1}
        assert str(found[0].best["gap/loss"]) == "nan"
        assert (found[0].role, found[0].confirms) == (Role.AUDIT, 1)
        assert (found[0].not_acting, found[0].without) == (("averaging",), ("dropout",))
        assert found[1].not_acting == ()
        assert progress.trial("digits-1", 0).epochs == tuple(epochs)
        assert progress.trial("digits-1", 1).epochs == ()
        with pytest.raises(TrialNotFoundError, match="no trial 7"):
            progress.trial("digits-1", 7)

    def test_events_are_told_in_order_from_where_a_listener_left(
        self, sweeps: SweepStore, progress: ProgressStore
    ) -> None:
        launch(sweeps, "digits-1")
        launch(sweeps, "digits-2")
        for number in (0, 1, 2, 3, 4, 2, 4):
            progress.record("digits-1", 1, started(number))
        progress.record("digits-2", 1, started(0))
        whole = progress.events("digits-1")
        assert [e.event.kind for e in whole] == ["state_changed"] * 3 + ["trial_started"] * 5
        assert [e.number for e in whole] == sorted(e.number for e in whole)
        assert progress.events("digits-1", after=whole[2].number) == whole[3:]
        assert progress.events("digits-1", limit=2) == whole[:2]

    def test_an_epoch_that_comes_twice_at_once_counts_once(
        self, sweeps: SweepStore, progress: ProgressStore
    ) -> None:
        launch(sweeps, "digits-1")
        twice = [Epoch(trial=0, epoch=1, time=t, metrics={"val/loss": 0.5}) for t in (1.0, 2.0)]
        progress.record("digits-1", 1, DriverReport(trials=[trial(0)], epochs=twice))
        assert [e.epoch for e in progress.trial("digits-1", 0).epochs] == [1]

    def test_what_happened_twice_at_once_counts_once(
        self, sweeps: SweepStore, progress: ProgressStore
    ) -> None:
        launch(sweeps, "digits-1")
        twice = DriverReport(events=[*started(0).events, *started(0).events])
        progress.record("digits-1", 1, twice)
        assert [e.event.kind for e in progress.events("digits-1")].count("trial_started") == 1

    def test_a_sweep_knows_its_newest_event(
        self, sweeps: SweepStore, progress: ProgressStore
    ) -> None:
        def newest(sweep_id: str) -> int:
            return sweeps.get_with_history(sweep_id).last_event

        launch(sweeps, "digits-1")
        launch(sweeps, "digits-2")
        first = newest("digits-1")
        assert first == progress.events("digits-1")[-1].number
        progress.record("digits-1", 1, started(0))
        last = newest("digits-1")
        assert [e.number for e in progress.events("digits-1", after=first)][-1] == last
        progress.record("digits-1", 1, started(0))
        assert newest("digits-1") == last
        assert newest("digits-2") < last

    def test_of_a_sweep_that_is_not_there_nothing_is_told(
        self, sweeps: SweepStore, progress: ProgressStore
    ) -> None:
        with pytest.raises(SweepNotFoundError, match="no sweep 'digits-9'"):
            sweeps.get_with_history("digits-9")
        with pytest.raises(SweepNotFoundError, match="no sweep 'digits-9'"):
            progress.trials("digits-9")

    def test_events_of_many_writers_are_numbered_as_they_become_visible(
        self, sweeps: SweepStore, progress: ProgressStore
    ) -> None:
        each = 10
        launch(sweeps, "digits-1")
        done = threading.Event()
        seen: list[int] = []

        def listen() -> None:
            last = 0
            while True:
                over = done.is_set()
                for event in progress.events("digits-1", after=last):
                    seen.append(event.number)
                    last = event.number
                if over:
                    return

        def write(name: int) -> None:
            for number in range(each):
                epoch = Epoch(trial=name, epoch=number, time=1.0, metrics={})
                report = DriverReport(events=[EpochEnded(epoch=epoch)])
                progress.record("digits-1", 1, report)

        listener = threading.Thread(target=listen)
        writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        listener.start()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        done.set()
        listener.join()
        assert seen == [e.number for e in progress.events("digits-1")]
        assert len(seen) == 3 + 4 * each


class TestLeases:
    """What only one process may do."""

    def test_one_holds_a_lease_until_it_runs_out_or_is_given_back(
        self, database: Database, clock: Clock
    ) -> None:
        one, two = LeaseStore(database, "one", clock), LeaseStore(database, "two", clock)
        assert one.acquire("queue", 10)
        assert not two.acquire("queue", 10)
        clock.now += 8
        assert one.acquire("queue", 10)
        clock.now += 8
        assert not two.acquire("queue", 10)
        clock.now += 3
        assert two.acquire("queue", 10)
        assert not one.acquire("queue", 10)
        two.release("queue")
        assert one.acquire("queue", 10)
        assert two.acquire("events", 10)

    def test_one_that_is_held_for_longer_than_a_lease_lasts_is_over(
        self, database: Database, clock: Clock, logs: LogRecords
    ) -> None:
        """The clock of the process that took it was wrong, or has been set back."""
        one, two = LeaseStore(database, "one", clock), LeaseStore(database, "two", clock)
        clock.now += 3600
        assert one.acquire("queue", 10)
        clock.now -= 3600
        with logs.at_level(logging.WARNING):
            assert two.acquire("queue", 10)
        assert "held by one for 3610 s more" in logs.text
        assert not one.acquire("queue", 10)

    def test_of_many_that_ask_at_once_one_gets_it(self, database: Database) -> None:
        got: list[bool] = []
        threads = [
            threading.Thread(
                target=lambda n=n: got.append(LeaseStore(database, str(n)).acquire("q", 60))
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(got) == 1


class TestBundles:
    """What is known of users' code."""

    def test_one_that_is_handed_in_again_stays_its_first_owners(
        self, sweeps: SweepStore, bundles: BundleStore
    ) -> None:
        digest = "ab" * 32
        first = bundles.add(digest, "ann", 7, ["mine", "alone"])
        assert first == Bundle(digest=digest, owner="ann", size=7, modules=("mine", "alone"))
        assert bundles.add(digest, "bob", 7, ["mine", "alone"]) == first
        assert bundles.get(digest) == first
        assert submit(sweeps, "digits-1", bundle=digest).bundle == digest

    def test_one_that_was_never_handed_in_is_said(
        self, sweeps: SweepStore, bundles: BundleStore
    ) -> None:
        bundles.add("ab" * 32, "ann", 7, ["mine"])
        for digest in ("", "ab", "AB" * 32):
            with pytest.raises(BundleNotFoundError, match=f"no bundle '{digest}'; upload it"):
                bundles.get(digest)

    def test_many_that_hand_in_one_at_once_get_the_same(
        self, sweeps: SweepStore, bundles: BundleStore
    ) -> None:
        found: list[Bundle] = []
        owners = ["ann", "bob"] * 3
        threads = [
            threading.Thread(target=lambda o=o: found.append(bundles.add("ab" * 32, o, 7, ["m"])))
            for o in owners
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 6
        assert len({bundle.owner for bundle in found}) == 1


class TestWebhooks:
    """How far whoever is called has heard."""

    def told(self, webhooks: WebhookStore) -> dict[str, list[tuple[str, str]]]:
        """What everyone hears who is due: sweeps and their new states."""
        heard: dict[str, list[tuple[str, str]]] = {}
        for hook in webhooks.due():
            last = hook.event
            while (event := webhooks.next_change(last)) is not None:
                assert isinstance(event.event, StateChanged)
                heard.setdefault(hook.url, []).append((event.sweep_id, event.event.new))
                last = event.number
                webhooks.mark_delivered(hook.url, last)
        return heard

    def test_changes_of_all_sweeps_are_heard_in_order_and_nothing_else(
        self, sweeps: SweepStore, progress: ProgressStore, webhooks: WebhookStore
    ) -> None:
        submit(sweeps, "digits-0")
        webhooks.set_urls(["http://a/", "http://a/"])
        assert self.told(webhooks) == {}
        launch(sweeps, "digits-1")
        progress.record("digits-1", 1, started(0))
        sweeps.change("digits-0", JobState.CANCELLED, "enough", "ann")
        assert self.told(webhooks) == {
            "http://a/": [
                ("digits-1", "queued"),
                ("digits-1", "starting"),
                ("digits-1", "running"),
                ("digits-0", "cancelled"),
            ]
        }
        assert self.told(webhooks) == {}

    def test_addresses_come_and_go_and_those_that_stay_keep_their_place(
        self, sweeps: SweepStore, webhooks: WebhookStore
    ) -> None:
        webhooks.set_urls(["http://a/", "http://b/"])
        submit(sweeps, "digits-1")
        webhooks.set_urls(["http://b/", "http://c/"])
        sweeps.change("digits-1", JobState.PAUSED, "paused", "ann")
        assert self.told(webhooks) == {
            "http://b/": [("digits-1", "queued"), ("digits-1", "paused")],
            "http://c/": [("digits-1", "paused")],
        }
        webhooks.set_urls([])
        assert webhooks.due() == ()

    def test_one_that_missed_a_call_waits_and_keeps_its_place(
        self, sweeps: SweepStore, webhooks: WebhookStore, clock: Clock
    ) -> None:
        webhooks.set_urls(["http://a/", "http://b/"])
        submit(sweeps, "digits-1")
        (before, _) = webhooks.due()
        webhooks.mark_failed(before.url, 3, 10.0)
        assert [hook.url for hook in webhooks.due()] == ["http://b/"]
        webhooks.set_urls(["http://a/"])  # a service that starts again calls no sooner
        clock.now += 9
        assert webhooks.due() == ()
        clock.now += 1
        assert webhooks.due() == (Webhook(url=before.url, event=before.event, tries=3),)
        webhooks.mark_delivered(before.url, before.event + 1)
        assert webhooks.due() == (Webhook(url=before.url, event=before.event + 1, tries=0),)

    def test_a_change_that_becomes_visible_late_is_heard_too(
        self, database: Database, sweeps: SweepStore, webhooks: WebhookStore
    ) -> None:
        if database.url.startswith("sqlite"):
            pytest.skip("SQLite has one writer: what is numbered first is seen first")
        submit(sweeps, "digits-1")
        submit(sweeps, "digits-2")
        webhooks.set_urls(["http://a/"])
        other = threading.Thread(
            target=lambda: sweeps.change("digits-2", JobState.STARTING, "selected", "queue")
        )
        with database.writing() as session:
            row = find_row(session, "digits-1", lock=True)
            transition(session, row, JobState.STARTING, "selected", "queue", 1000.0)
            session.flush()
            other.start()
            other.join(timeout=0.5)  # it must wait for this change to be seen
            heard = self.told(webhooks).get("http://a/", [])
        other.join(timeout=patience(10))
        assert not other.is_alive()
        heard += self.told(webhooks).get("http://a/", [])
        assert sorted(heard) == [("digits-1", "starting"), ("digits-2", "starting")]
