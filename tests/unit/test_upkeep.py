"""Deletion over the API, and the loop that carries it out, step by step."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from service.client.audit_actions import AuditAction
from service.client.bundle_packing import digest
from service.client.job_states import JobState
from service.server import upkeep as upkeep_module
from service.server.store.deletion_store import DeletionStore
from service.server.store.storage_store import StorageStore
from service.server.store.webhook_store import WebhookStore
from service.server.upkeep import ANNOUNCE_PATIENCE, BUNDLE_GRACE, Upkeep
from service.sweep.folder_removal import list_aside
from service.sweep.home import Home, SweepFolder
from tests.archives import archive
from tests.log_records import LogRecords
from tests.stores import Clock
from tests.worlds import World, refused

DAY = 86_400.0
ENDS = (JobState.STARTING, JobState.SUCCEEDED)


class Mlflow:
    """The boundary to MLflow: which sweeps' runs were to be removed, and whether it answers."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.answers = True

    def __call__(self, sweep_ids: Sequence[str]) -> Collection[str]:
        self.asked.append(list(sweep_ids))
        return sweep_ids if self.answers else ()


class Kept(World):
    """A service with an upkeep whose time passes when told to."""

    def __init__(self, folder: Path, keep_days: float | None = None) -> None:
        super().__init__(folder)
        self.clock, self.mlflow = Clock(1_000_000_000.0), Mlflow()
        self.service.deletions = DeletionStore(self.database, self.clock)
        self.service.storage = StorageStore(self.database, self.clock)
        self.service.sweeps._clock = self.service.bundles._clock = self.clock
        self.home = Home(folder)
        self.upkeep = Upkeep(self.service, self.mlflow, keep_days, self.clock)

    def run(self, user: str = "ann", **more: object) -> str:
        """A sweep that has ended, with a folder."""
        sweep_id = self.submit(user, **more)
        folder = self.folder(sweep_id)
        (folder.path / "trials" / "00000").mkdir(parents=True)
        (folder.path / "trials" / "00000" / "best.pt").write_bytes(bytes(1000))
        self.brought_to(sweep_id, *ENDS)
        return sweep_id

    def folder(self, sweep_id: str) -> SweepFolder:
        return self.home.sweep(sweep_id)

    def delete(self, sweep_id: str, user: str = "ann") -> int:
        return self.call("DELETE", f"/v1/sweeps/{sweep_id}", user).status_code

    def is_known(self, sweep_id: str) -> bool:
        return self.call("GET", f"/v1/sweeps/{sweep_id}").status_code == 200


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    made.database.close()


def test_a_sweep_is_deleted_with_its_folder_its_runs_and_its_rows(kept: Kept) -> None:
    sweep_id, other = kept.run(), kept.run()
    done = kept.call("DELETE", f"/v1/sweeps/{sweep_id}")
    assert (done.status_code, done.json()["state"]) == (202, "deleting")
    kept.upkeep.round()
    assert not kept.folder(sweep_id).path.exists()
    assert list_aside(kept.home) == ()
    assert kept.mlflow.asked == [[sweep_id]]
    refused(kept.call("GET", f"/v1/sweeps/{sweep_id}"), 404)
    refused(kept.call("DELETE", f"/v1/sweeps/{sweep_id}"), 404)
    assert kept.folder(other).path.exists()
    assert kept.is_known(other)
    kept.upkeep.round()
    assert kept.mlflow.asked == [[sweep_id]]


def test_its_owner_and_admins_delete_a_sweep_that_has_ended(kept: Kept) -> None:
    sweep_id = kept.run()
    refused(kept.call("DELETE", f"/v1/sweeps/{sweep_id}", "bob"), 403)
    refused(kept.call("DELETE", f"/v1/sweeps/{sweep_id}", "vic"), 403)
    refused(kept.call("DELETE", "/v1/sweeps/nothing-1"), 404)
    assert kept.delete(sweep_id, "root") == 202
    again = refused(kept.call("DELETE", f"/v1/sweeps/{sweep_id}"), 404)
    assert again["detail"] == f"no sweep {sweep_id!r}: it is being deleted"
    waiting = kept.submit()
    why = refused(kept.call("DELETE", f"/v1/sweeps/{waiting}"), 409)["detail"]
    assert f"{waiting} is queued; only a sweep that has ended can be deleted" in why
    assert refused(kept.act(sweep_id, "retry"), 409)


def test_one_that_others_start_after_is_refused(kept: Kept) -> None:
    first = kept.run()
    second = kept.submit(params={"after": first})
    why = refused(kept.call("DELETE", f"/v1/sweeps/{first}"), 409)["detail"]
    assert why == f"{first} cannot be deleted: {second} start after it; cancel them first"
    kept.act(second, "cancel")
    assert kept.delete(first) == 202


@pytest.mark.parametrize("step", ["set_aside", "delete_aside", "remove_runs", "forget"])
def test_a_deletion_that_is_killed_before_any_step_is_completed_by_the_next_process(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    sweep_id = kept.run()
    assert kept.delete(sweep_id) == 202

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        if step == "remove_runs":
            dying.setattr(kept.upkeep, "_remove_runs", die)
        elif step == "forget":
            dying.setattr(kept.service.deletions, "forget", die)
        else:
            dying.setattr(upkeep_module, step, die)
        with pytest.raises(KeyboardInterrupt):
            kept.upkeep.round()
    assert kept.call("GET", f"/v1/sweeps/{sweep_id}").json()["state"] == "deleting"
    Upkeep(kept.service, kept.mlflow, None, kept.clock).round()
    assert not kept.is_known(sweep_id)
    assert not kept.folder(sweep_id).path.exists()
    assert list_aside(kept.home) == ()


def test_while_mlflow_does_not_answer_the_rows_stay_and_it_is_asked_again(kept: Kept) -> None:
    sweep_id = kept.run()
    kept.mlflow.answers = False
    kept.delete(sweep_id)
    kept.upkeep.round()
    kept.upkeep.round()
    assert len(kept.mlflow.asked) == 1  # it is given a minute
    assert kept.is_known(sweep_id)
    kept.mlflow.answers = True
    kept.clock.now += 61
    kept.upkeep.round()
    assert not kept.is_known(sweep_id)


def test_webhooks_hear_of_a_deletion_and_it_waits_for_them_for_an_hour(kept: Kept) -> None:
    sweep_id = kept.run()
    webhooks = WebhookStore(kept.database)
    webhooks.set_urls(["http://a/"])
    kept.delete(sweep_id)
    kept.upkeep.round()
    (hook,) = webhooks.due()
    event = webhooks.next_change(hook.event)
    assert event is not None
    assert event.sweep_id == sweep_id
    assert kept.is_known(sweep_id)
    kept.clock.now += ANNOUNCE_PATIENCE + 1
    kept.upkeep.round()
    assert not kept.is_known(sweep_id)
    assert kept.mlflow.asked == [[sweep_id]]


def test_a_folder_that_cannot_be_deleted_keeps_the_rows(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, logs: LogRecords
) -> None:
    sweep_id = kept.run()
    kept.delete(sweep_id)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as closed:
        closed.setattr(upkeep_module, "delete_aside", refuse)
        kept.upkeep.round()
    assert f"the folder of {sweep_id} cannot be deleted" in logs.text
    assert kept.is_known(sweep_id)
    kept.upkeep.round()
    assert not kept.is_known(sweep_id)


def test_no_link_that_users_code_left_is_followed(kept: Kept, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    first, second = kept.run(), kept.run()
    (kept.folder(first).path / "link").symlink_to(outside)
    kept.folder(second).path.rename(tmp_path / "moved")
    kept.folder(second).path.symlink_to(outside)
    kept.delete(first)
    kept.delete(second)
    kept.upkeep.round()
    assert not kept.is_known(first)
    assert not kept.is_known(second)
    assert not kept.folder(second).path.is_symlink()
    assert (outside / "file").read_text() == "kept"


def test_who_deleted_what_is_in_the_audit_log(tmp_path: Path) -> None:
    kept = Kept(tmp_path, keep_days=30)
    by_ann, by_age = kept.run(), kept.run()
    kept.delete(by_ann)
    kept.clock.now += 31 * DAY
    kept.upkeep.round()
    entries = kept.service.audit.page(actions=[AuditAction.SWEEP_DELETE]).items
    assert {(e.user, e.sweep, e.detail) for e in entries} == {
        ("ann", by_ann, ""),
        ("retention", by_age, "it ended more than 30 days ago"),
    }
    kept.database.close()


class TestRetention:
    """Sweeps that ended long ago."""

    def test_sweeps_are_deleted_so_many_days_after_their_end(self, tmp_path: Path) -> None:
        kept = Kept(tmp_path, keep_days=30)
        old, waiting = kept.run(), kept.submit()
        kept.clock.now += 20 * DAY
        young = kept.run()
        kept.clock.now += 9 * DAY
        kept.upkeep.round()
        assert kept.is_known(old)
        kept.clock.now += 2 * DAY
        kept.upkeep.round()
        assert not kept.is_known(old)
        assert kept.is_known(young)
        assert kept.is_known(waiting)
        kept.database.close()

    def test_without_the_option_they_are_kept(self, kept: Kept) -> None:
        sweep_id = kept.run()
        kept.clock.now += 10_000 * DAY
        kept.upkeep.round()
        assert kept.is_known(sweep_id)

    def test_a_round_deletes_so_many_at_most(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upkeep_module, "_BATCH", 2)
        kept = Kept(tmp_path, keep_days=0)
        ids = [kept.run() for _ in range(5)]
        kept.clock.now += 1
        left = []
        for _ in range(3):
            kept.upkeep.round()
            left.append(sum(map(kept.is_known, ids)))
        assert left == [3, 1, 0]
        kept.database.close()


class TestSizes:
    """How much the folders have."""

    def test_a_sweep_is_measured_by_the_loop_and_again_when_it_has_changed(
        self, kept: Kept
    ) -> None:
        def size(sweep_id: str) -> int | None:
            found = kept.call("GET", f"/v1/sweeps/{sweep_id}").json()["size"]
            return None if found is None else int(found)

        sweep_id = kept.run()
        assert size(sweep_id) is None
        kept.clock.now += 1
        kept.upkeep.round()
        assert size(sweep_id) == 1000
        (kept.folder(sweep_id).path / "more").write_bytes(bytes(500))
        kept.clock.now += 1
        kept.upkeep.round()
        assert size(sweep_id) == 1000  # nothing writes into a sweep that has ended
        kept.act(sweep_id, "extend", params={"trials": 1})
        kept.clock.now += 1
        kept.upkeep.round()
        assert size(sweep_id) == 1500


class TestBundles:
    """Code that no sweep has."""

    def upload(self, kept: Kept, name: str) -> str:
        packed = archive((f"{name}.py", f"name = {name!r}\n".encode()))
        assert kept.call("POST", "/v1/bundles", content=packed).status_code == 201
        return digest(packed)

    def places(self, kept: Kept) -> set[str]:
        return {path.name for path in kept.home.bundles.iterdir()}

    def test_it_goes_some_days_after_its_last_upload_with_its_files(self, kept: Kept) -> None:
        used, unused = self.upload(kept, "used_code"), self.upload(kept, "unused_code")
        sweep_id = kept.submit(params={"bundle": used})
        kept.upkeep.round()
        assert self.places(kept) == {used, f"{used}.zip", unused, f"{unused}.zip"}
        kept.clock.now += BUNDLE_GRACE - DAY
        self.upload(kept, "unused_code")  # its sweep may follow
        kept.clock.now += 2 * DAY
        kept.upkeep.round()
        assert unused in self.places(kept)
        kept.clock.now += BUNDLE_GRACE
        kept.upkeep.round()
        assert self.places(kept) == {used, f"{used}.zip"}
        kept.brought_to(sweep_id, *ENDS)
        kept.delete(sweep_id)
        kept.upkeep.round()
        kept.clock.now += DAY
        kept.upkeep.round()
        assert self.places(kept) == set()

    def test_files_that_no_bundle_has_go_when_they_are_old(self, kept: Kept) -> None:
        kept.home.bundles.mkdir()
        old, new = kept.home.bundles / ".unpacking-old", kept.home.bundles / ".unpacking-new"
        for path in (old, new):
            path.mkdir()
            (path / "file").write_text("x")
            os.utime(path, (kept.clock.now, kept.clock.now))
        os.utime(old, (kept.clock.now - BUNDLE_GRACE - DAY,) * 2)
        kept.upkeep.round()
        assert self.places(kept) == {".unpacking-new"}
