"""What sweeps cost, in the database: of a sweep, of a user, also after a deletion."""

from __future__ import annotations

import pytest
from alembic import command

from service.client.job_states import JobState
from service.server.store.cost_store import CostStore
from service.server.store.database import Database, alembic_configuration
from service.server.store.deletion_store import DeletionStore
from service.server.store.job_records import DriverReport, Submission
from service.server.store.progress_store import ProgressStore
from service.server.store.sweep_store import SweepStore
from service.sweep.cost import Cost
from tests.stores import Clock


def run(sweeps: SweepStore, progress: ProgressStore, sweep_id: str, owner: str, cost: Cost) -> None:
    """A sweep that reports its cost twice, the second time all of it."""
    asked = Submission(sweep_id=sweep_id, name="digits", owner=owner, spec="name: x")
    sweeps.submit(asked)
    sweeps.change(sweep_id, JobState.STARTING, "selected", "queue", attempt=1)
    progress.record(sweep_id, 1, DriverReport(cost=Cost(search_cpu_seconds=1.0)))
    progress.record(sweep_id, 1, DriverReport())
    progress.end(sweep_id, 1, DriverReport(cost=cost), JobState.SUCCEEDED, "it ended")


ONE = Cost(search_cpu_seconds=10.0, confirmation_cpu_seconds=5.0, confirmation_gpu_seconds=2.5)


def test_a_sweeps_last_report_counts_and_users_have_the_sum(
    database: Database, sweeps: SweepStore, progress: ProgressStore
) -> None:
    costs = CostStore(database)
    for sweep_id, owner in (("digits-1", "ann"), ("digits-2", "ann"), ("digits-3", "bob")):
        run(sweeps, progress, sweep_id, owner, ONE)
    assert costs.of_sweep("digits-1") == ONE
    assert costs.of_sweep("digits-9") == Cost()
    assert costs.by_user() == {"ann": ONE + ONE, "bob": ONE}


def test_a_deleted_sweep_still_counts_for_its_owner(
    database: Database, sweeps: SweepStore, progress: ProgressStore
) -> None:
    run(sweeps, progress, "digits-1", "ann", ONE)
    deletions = DeletionStore(database)
    deletions.mark("digits-1", "ann", "deleted")
    deletions.forget("digits-1")
    assert CostStore(database).by_user() == {"ann": ONE}


def test_sweeps_of_older_versions_get_what_is_known_of_them(empty: Database, clock: Clock) -> None:
    with empty.connecting() as connection:
        command.upgrade(alembic_configuration(connection), "0009")
        for statement in (
            "INSERT INTO users (name, role, created) VALUES ('ann', 'user', 1.0)",
            "INSERT INTO sweeps (id, name, owner, state, created, changed, spec, priority, "
            '"after", attempt, failures, more_trials, slot_seconds, gpu_hours, progress, '
            "accept_changes, wider) VALUES ('digits-1', 'digits', 'ann', 'succeeded', 1.0, 2.0, "
            "'name: x', 0, '[]', 1, 0, 0, 400.0, 0.01, '{}', false, '{}')",
            "INSERT INTO trials (sweep_id, number, state, role, seconds, facts) VALUES "
            "('digits-1', 0, 'complete', 'search', 150.0, '{}'), "
            "('digits-1', 1, 'complete', 'replicate', 50.0, '{}')",
        ):
            connection.exec_driver_sql(statement)
    empty.upgrade()
    found = CostStore(empty).of_sweep("digits-1")
    assert found.search_cpu_seconds == pytest.approx(300.0)
    assert found.confirmation_cpu_seconds == pytest.approx(100.0)
    assert found.search_gpu_seconds == pytest.approx(27.0)
    assert found.confirmation_gpu_seconds == pytest.approx(9.0)
