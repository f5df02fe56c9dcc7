"""A full disk: 507 and a word of it from the API, nothing half written, a sweep that continues."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.base.disk import check_room, explain_full_disk, is_disk_full
from service.base.errors import DiskFullError, HomeError
from service.client.job_states import JobState
from service.report.console import open_console
from service.run.create_sweep import create_sweep
from service.server.driver import Driver, Outcome
from service.server.store.state_machine import is_legal
from service.study.records import TrialState
from service.sweep.home import Home
from service.sweep.load import read_sweep
from service.sweep.sweep_record import SweepState
from tests.archives import archive
from tests.contract.sweeps import Executor
from tests.small_disks import fill, make_room, mount_small_disk
from tests.worlds import World, refused

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk", 8192) as made:
        yield made


def test_it_is_recognised_behind_other_errors() -> None:
    behind = RuntimeError("writer failed")
    behind.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert is_disk_full(behind)
    assert is_disk_full(DiskFullError("full"))
    assert not is_disk_full(OSError(errno.EACCES, "Permission denied"))
    assert not is_disk_full(None)


def test_the_block_that_meets_it_says_where_and_what_is_kept(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFullError, match=r"the disk of .* is full: all is kept"),
        explain_full_disk(tmp_path, "all is kept"),
    ):
        raise FULL
    with pytest.raises(PermissionError), explain_full_disk(tmp_path, "all is kept"):
        raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.root
def test_the_api_says_so_and_writes_nothing(disk: Path) -> None:
    world = World(disk)
    code = archive({"mine.py": "x = 1\n", "data.py": "y = '" + "z" * 200_000 + "'\n"})
    assert world.call("GET", "/readyz", None).status_code == 200
    fill(disk)
    before = set(disk.rglob("*"))
    ready = refused(world.call("GET", "/readyz", None), 507)
    assert "disk is full" in ready["detail"]
    assert str(disk) not in ready["detail"]
    upload = world.call("POST", "/v1/bundles", content=code)
    assert refused(upload, 507)["type"].endswith(":disk-full")
    names = {path.name for path in set(disk.rglob("*")) - before}
    assert names <= {"bundles", "service.db-wal", "service.db-shm"}
    answers = [world.call("POST", "/v1/sweeps", json={**SPEC, "name": f"s{n}"}) for n in range(40)]
    refused(answers[-1], 507)
    assert {a.status_code for a in answers} <= {201, 507}  # SQLite's log may have had some room
    assert world.call("GET", "/healthz", None).status_code == 200
    make_room(disk)
    assert world.call("GET", "/readyz", None).status_code == 200
    assert world.call("POST", "/v1/bundles", content=code).status_code == 201
    assert world.call("POST", "/v1/sweeps", json=SPEC).status_code == 201
    listed = world.call("GET", "/v1/sweeps", params={"limit": 100}).json()["items"]
    assert len(listed) == 1 + sum(a.status_code == 201 for a in answers)
    world.close()


SPEC: dict[str, Any] = {
    "name": "digits-mlp",
    "trainable": "trainables.models:MLP",
    "data": {"name": "digits"},
    "space": {"dropout": {"float": [0.0, 0.5]}},
}


@pytest.mark.root
def test_a_sweep_that_cannot_be_created_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    spec = Executor("local", tmp_path).spec()
    home = Home(disk).create()
    fill(disk)
    with pytest.raises((DiskFullError, HomeError), match="is full"):
        create_sweep(spec, home, ["/" + "x" * 3000] * 10)
    assert list((disk / "sweeps").iterdir()) == []


@pytest.mark.root
@pytest.mark.parametrize("when", ["a trial ends", "an epoch ends"])
def test_a_sweep_stops_with_a_word_and_continues_when_there_is_room(
    disk: Path, tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    local = Executor("local", tmp_path)
    spec = local.spec(budget={"trials": 3})
    folder = local.new(disk, spec)
    with monkeypatch.context() as patch:
        _fill_when(when, disk, patch)
        with pytest.raises(DiskFullError, match=rf"{folder.sweep_id} has stopped.*gapsweep resume"):
            local.run(spec, folder)
    make_room(disk)
    with folder.lock():  # it let go of the sweep
        pass
    local.run(spec, folder)
    _, _, done = read_sweep(folder)
    assert done.state is SweepState.SUCCEEDED
    assert [t.state for t in done.searched if t.state is TrialState.FAILED] == []
    assert len(done.searched) == 3


def _fill_when(when: str, disk: Path, patch: pytest.MonkeyPatch) -> None:
    """Fill the disk at the first end of that kind, before its record is written."""
    from service.study.session import StudySession

    name = {"a trial ends": "complete", "an epoch ends": "report"}[when]
    really: Callable[..., Any] = getattr(StudySession, name)

    def fill_first(*args: Any, **more: Any) -> Any:
        fill(disk)
        return really(*args, **more)

    patch.setattr(StudySession, name, fill_first)


@pytest.mark.root
def test_a_checkpoint_that_has_no_room_is_not_the_trials_fault(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    local = Executor("local", tmp_path)
    spec = local.spec(budget={"trials": 2})
    folder = local.new(disk, spec)
    really = torch.save

    def fill_first(*args: Any, **more: Any) -> Any:
        fill(disk)
        return really(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fill_first)
        with pytest.raises(DiskFullError, match="has stopped"):
            local.run(spec, folder)
    make_room(disk)
    _, _, stopped = read_sweep(folder)
    assert [t.state for t in stopped.trials] == [TrialState.RUNNING]
    local.run(spec, folder)
    _, _, done = read_sweep(folder)
    assert done.state is SweepState.SUCCEEDED
    assert all(t.state is not TrialState.FAILED for t in done.searched)


@pytest.mark.root
def test_room_is_checked_by_writing(disk: Path) -> None:
    check_room(disk)
    fill(disk)
    with pytest.raises(DiskFullError, match=str(disk)):
        check_room(disk)
    with pytest.raises(OSError, match="No such file"):
        check_room(disk / "missing")


@pytest.mark.parametrize("state", [JobState.STARTING, JobState.RUNNING, JobState.PAUSING])
def test_a_driver_may_pause_its_sweep(state: JobState) -> None:
    assert is_legal(state, JobState.PAUSED)
    assert is_legal(JobState.PAUSED, JobState.QUEUED)


def test_a_driver_that_cannot_write_pauses_its_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Any = None
    driver = Driver(Home(tmp_path), nothing, nothing, nothing, open_console(io.StringIO()))

    def refuse(_: object) -> Any:
        raise DiskFullError("the disk is full: free some space")

    monkeypatch.setattr(driver, "_drive", refuse)
    outcome = driver._run_sweep(nothing, nothing)
    assert outcome == Outcome(JobState.PAUSED, "the disk is full: free some space")
