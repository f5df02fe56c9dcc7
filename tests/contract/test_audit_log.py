"""The audit log in the database: what it keeps, what it bounds, and what belongs together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.base.errors import IllegalTransitionError, InputError
from service.client.audit_actions import AuditAction
from service.client.job_states import JobState
from service.server.store.audit_store import AuditStore, Repeated, Times
from service.server.store.callers import Actor
from service.server.store.database import Database
from service.server.store.job_records import Submission
from service.server.store.sweep_store import SweepStore
from tests.stores import Clock

ANN = Actor(user="ann", token="laptop", address="10.0.0.7")


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditStore:
    return AuditStore(database, clock)


@pytest.fixture
def queued(sweeps: SweepStore) -> SweepStore:
    sweeps.submit(Submission(sweep_id="digits-1", name="digits", owner="ann", spec="name: x"))
    return sweeps


def test_who_did_what_when_and_from_where_is_read_back(audit: AuditStore) -> None:
    audit.record(ANN, AuditAction.SWEEP_CANCEL, sweep="digits-1", detail="two\nlines \0")
    (entry,) = audit.page().items
    assert (entry.user, entry.token, entry.address) == ("ann", "laptop", "10.0.0.7")
    assert (entry.action, entry.sweep) == (AuditAction.SWEEP_CANCEL, "digits-1")
    assert (entry.time, entry.last, entry.times) == (1000.0, 1000.0, 1)
    assert entry.detail == "two lines \\0"


def test_a_change_and_its_entry_are_stored_together(audit: AuditStore, queued: SweepStore) -> None:
    with audit.recording(ANN, AuditAction.SWEEP_CANCEL, sweep="digits-1"):
        queued.change("digits-1", JobState.CANCELLED, "cancelled", "ann")
        assert queued.get("digits-1").state is JobState.CANCELLED
    assert len(audit.page().items) == 1


def test_what_fails_has_no_entry(audit: AuditStore, queued: SweepStore) -> None:
    recording = audit.recording(ANN, AuditAction.SWEEP_CANCEL, sweep="digits-1")
    with pytest.raises(IllegalTransitionError), recording:
        queued.change("digits-1", JobState.SUCCEEDED, "no", "ann")
    assert audit.page().items == ()


def test_what_cannot_be_entered_is_not_done(
    audit: AuditStore, queued: SweepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InputError("the entry cannot be stored")

    monkeypatch.setattr(audit, "record", fail)
    recording = audit.recording(ANN, AuditAction.SWEEP_CANCEL, sweep="digits-1")
    with pytest.raises(InputError), recording:
        queued.change("digits-1", JobState.CANCELLED, "cancelled", "ann")
    assert queued.get("digits-1").state is JobState.QUEUED
    assert len(queued.history("digits-1")) == 1


def test_a_repeated_key_is_found_within_a_transaction(
    database: Database, sweeps: SweepStore
) -> None:
    asked = Submission(
        sweep_id="digits-2", name="digits", owner="ann", spec="name: x", idempotency_key="k"
    )
    for _ in range(2):
        with database.transaction():
            assert sweeps.submit(asked).sweep_id == "digits-2"


def test_one_key_at_the_same_time_is_one_sweep_and_one_entry(
    database: Database, sweeps: SweepStore, audit: AuditStore
) -> None:
    def submit(number: int) -> str:
        asked = Submission(
            sweep_id=f"digits-{number}",
            name="digits",
            owner="ann",
            spec="name: x",
            idempotency_key="k",
        )
        with database.transaction():
            job = sweeps.submit(asked)
            if job.sweep_id == asked.sweep_id:
                audit.record(ANN, AuditAction.SWEEP_SUBMIT, sweep=job.sweep_id)
        return job.sweep_id

    with ThreadPoolExecutor(4) as pool:
        (first,) = set(pool.map(submit, range(8)))
    assert [e.sweep for e in audit.page().items] == [first]


def test_what_is_repeated_is_one_entry_a_day(audit: AuditStore) -> None:
    use = Repeated(actor=ANN, action=AuditAction.TOKEN_USE, day=0)
    audit.count({use: Times(times=2, first=10.0, last=20.0)})
    audit.count({use: Times(times=3, first=30.0, last=40.0)})
    audit.count({use: Times(times=1, first=15.0, last=15.0)})  # of another process, later
    other = Actor(user="ann", token="laptop", address="10.0.0.8")
    audit.count(
        {
            Repeated(actor=other, action=AuditAction.TOKEN_USE, day=0): Times(
                times=1, first=50.0, last=50.0
            ),
            Repeated(actor=ANN, action=AuditAction.TOKEN_USE, day=1): Times(
                times=1, first=86_400.0, last=86_400.0
            ),
        }
    )
    found = [(e.address, e.times, e.time, e.last) for e in audit.page().items]
    assert sorted(found) == [
        ("10.0.0.7", 1, 86_400.0, 86_400.0),
        ("10.0.0.7", 6, 10.0, 40.0),
        ("10.0.0.8", 1, 50.0, 50.0),
    ]


def test_entries_are_selected_and_come_in_pages_the_newest_first(
    audit: AuditStore, clock: Clock
) -> None:
    bob = Actor(user="bob", token=None, address="command line")
    for n in range(5):
        clock.now = 1000.0 + n
        audit.record(ANN if n % 2 else bob, AuditAction.SWEEP_PAUSE, sweep=f"digits-{n}")
    audit.record(bob, AuditAction.USER_REVOKE, detail="ann")
    first = audit.page(limit=4)
    second = audit.page(limit=4, cursor=first.cursor)
    whole = [e.sweep for page in (first, second) for e in page.items]
    assert whole == [None, "digits-4", "digits-3", "digits-2", "digits-1", "digits-0"]
    assert second.cursor is None
    assert [e.sweep for e in audit.page(user="ann").items] == ["digits-3", "digits-1"]
    assert [e.detail for e in audit.page(actions=[AuditAction.USER_REVOKE]).items] == ["ann"]
    assert [e.time for e in audit.page(sweep="digits-2").items] == [1002.0]
    between = audit.page(since=1001.0, until=1003.0).items
    assert [e.sweep for e in between] == ["digits-2", "digits-1"]
    for wrong in ("x", "-1", "9" * 30, "١"):
        with pytest.raises(InputError, match="invalid cursor"):
            audit.page(cursor=wrong)


def test_old_entries_are_deleted(audit: AuditStore, clock: Clock) -> None:
    audit.record(ANN, AuditAction.SWEEP_PAUSE)
    clock.now += 10
    audit.record(ANN, AuditAction.SWEEP_RESUME)
    audit.delete_before(clock.now)
    assert [e.action for e in audit.page().items] == [AuditAction.SWEEP_RESUME]
