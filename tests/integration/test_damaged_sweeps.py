"""The API over sweeps whose folders users' code has changed: an error names the file."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from httpx2 import Response

from service.client.job_states import JobState
from service.cluster.jobs_client import RayJobs
from service.server.driver_access import Handover
from service.server.queue import QueueLimits
from service.server.reconciler import Reconciler
from service.server.store.job_records import DriverReport
from service.sweep.home import Home, SweepFolder
from service.sweep.load import read_sweep
from tests.log_records import LogRecords
from tests.patience import patience
from tests.strange_files import SECRET, STRANGE, Maker
from tests.worlds import World, refused

KEPT = Path(__file__).parents[1] / "data" / "sweep_of_format_2"
NESTED = b"[" * 200_000

DAMAGED: dict[str, Maker] = {
    **STRANGE,
    "empty": lambda path: path.touch(),
    "binary": lambda path: path.write_bytes(os.urandom(5_000)),
    "text": lambda path: path.write_text("not what it should be\n", encoding="utf-8"),
    "nested": lambda path: path.write_bytes(NESTED + b"\n"),
    "a list": lambda path: path.write_bytes(b"[1, 2]\n"),
    "null": lambda path: path.write_bytes(b"null\n"),
    "wrong types": lambda path: path.write_bytes(b'{"trial": "x", "op_code": [], "state": 1}\n'),
    "a long number": lambda path: path.write_bytes(b'{"op_code": ' + b"9" * 10_000 + b"}\n"),
}
FREE_TEXT = ("report.html", "driver.log", "best.pt")
"""Files that the server passes on as they are."""
UNHARMED = [("empty", "study.journal"), ("empty", "history.jsonl")]
"""A sweep that has not begun, and one of which no epoch is known."""
VIEWS = ("report", "report?format=json", "report?format=text", "logs", "model", "best")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    home = tmp_path / "home"
    home.mkdir()
    made = World(home)
    yield made
    made.close()


@pytest.fixture
def sweep(world: World) -> str:
    """A sweep that succeeded, with all its files."""
    return bring_in(world, JobState.SUCCEEDED)


def bring_in(world: World, state: JobState) -> str:
    spec = yaml.safe_load((KEPT / "spec.yaml").read_text(encoding="utf-8"))
    spec["resources"]["executor"] = "ray"
    done = world.call("POST", "/v1/sweeps", json=spec)
    assert done.status_code == 201, done.text
    sweep_id = str(done.json()["sweep_id"])
    folder = folder_of(world, sweep_id)
    shutil.copytree(KEPT, folder.path)
    folder.report.write_text("<!doctype html>", encoding="utf-8")
    folder.driver_log.write_text("it begins\n", encoding="utf-8")
    _, _, found = read_sweep(folder)
    assert found.best is not None
    weights = folder.best_weights(found.best.number)
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    world.launch(sweep_id)
    world.service.progress.record(sweep_id, 1, DriverReport(trials=found.trials))
    if state is not JobState.RUNNING:
        world.brought_to(sweep_id, state)
    return sweep_id


def folder_of(world: World, sweep_id: str) -> SweepFolder:
    return Home(world.service.settings.home).sweep(sweep_id)


def replace(path: Path, make: Maker) -> object:
    path.unlink(missing_ok=True)
    return make(path)


def view_all(world: World, sweep_id: str) -> dict[str, Response]:
    return {view: world.call("GET", f"/v1/sweeps/{sweep_id}/{view}", "vic") for view in VIEWS}


def test_every_view_of_a_whole_folder_answers(world: World, sweep: str) -> None:
    for view, answer in view_all(world, sweep).items():
        assert answer.status_code == 200, (view, answer.text)
    assert world.call("GET", f"/v1/sweeps/{sweep}/model").content == b"weights"


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("report.html", "report"),
        ("driver.log", "logs"),
        ("best.pt", "model"),
        ("summary.json", "report?format=json"),
        ("summary.json", "best"),
        ("study.journal", "report?format=text"),
        ("history.jsonl", "report?format=text"),
        ("format", "report?format=text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_never_followed(
    world: World, sweep: str, name: str, view: str
) -> None:
    (path,) = folder_of(world, sweep).path.rglob(name)
    for kind, make in DAMAGED.items():
        kept = replace(path, make)
        answer = world.call("GET", f"/v1/sweeps/{sweep}/{view}", "vic")
        assert SECRET not in answer.text, kind
        if (kind not in STRANGE and name in FREE_TEXT) or (kind, name) in UNHARMED:
            assert answer.status_code in (200, 404), (kind, answer.text)
        else:
            detail = refused(answer, 409)["detail"]
            assert sweep in detail, kind
            assert name in detail, kind
            assert "begun" not in detail, kind
        del kept
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (path.parent / ".secret").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["study.journal", "history.jsonl"])
def test_a_file_that_is_damaged_in_the_middle_is_named(world: World, sweep: str, name: str) -> None:
    path = folder_of(world, sweep).path / name
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], b'{"half', *lines[6:]]))
    answer = world.call("GET", f"/v1/sweeps/{sweep}/report?format=text")
    assert name in refused(answer, 409)["detail"]


@pytest.mark.parametrize("name", ["study.journal", "history.jsonl"])
def test_a_last_line_that_is_not_whole_is_left_out(world: World, sweep: str, name: str) -> None:
    path = folder_of(world, sweep).path / name
    whole = world.call("GET", f"/v1/sweeps/{sweep}/report?format=text").text
    with path.open("ab") as file:
        file.write(b'{"half')
    assert world.call("GET", f"/v1/sweeps/{sweep}/report?format=text").text == whole


@pytest.mark.parametrize("place", ["", "trials", "trials/00000"])
def test_no_folder_may_be_a_link(world: World, sweep: str, place: str, tmp_path: Path) -> None:
    folder = folder_of(world, sweep).path
    (weights,) = folder.rglob("best.pt")
    moved = weights.parent if place.endswith("0") else folder / place
    moved.rename(tmp_path / "moved")
    moved.symlink_to(tmp_path / "moved")
    answer = world.call("GET", f"/v1/sweeps/{sweep}/model", "vic")
    assert "is a link" in refused(answer, 409)["detail"]


def test_pipes_hold_no_threads(world: World) -> None:
    sweep_id = bring_in(world, JobState.RUNNING)
    for path in folder_of(world, sweep_id).path.rglob("*.*"):
        if path.is_file():
            replace(path, STRANGE["pipe"])
    threads = [threading.Thread(target=view_all, args=(world, sweep_id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(60))
    assert not any(thread.is_alive() for thread in threads)
    assert world.call("GET", "/healthz", None).status_code == 200


def test_a_page_of_users_code_runs_nothing_in_a_browser(world: World, sweep: str) -> None:
    answer = world.call("GET", f"/v1/sweeps/{sweep}/report")
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_output_of_a_driver_is_added_to_a_plain_log_only(
    world: World, sweep: str, logs: LogRecords
) -> None:
    reconciler, log = _reconciler(world), folder_of(world, sweep).driver_log
    for kind in ("link", "hard link", "pipe", "socket", "folder", "link to a device"):
        kept = replace(log, STRANGE[kind])
        logs.clear()
        reconciler._append_to_log(sweep, "it died")
        assert "is not continued" in logs.text, kind
        secret = log.parent / ".secret"
        assert not secret.exists() or secret.read_text(encoding="utf-8") == SECRET
        del kept
        shutil.rmtree(log) if log.is_dir() and not log.is_symlink() else log.unlink()
        secret.unlink(missing_ok=True)


def test_a_new_log_can_be_read_by_its_owner_only(world: World, sweep: str) -> None:
    log = folder_of(world, sweep).driver_log
    log.unlink()
    _reconciler(world)._append_to_log(sweep, "it died\n")
    assert log.read_text(encoding="utf-8") == "it died\n"
    assert log.stat().st_mode & 0o777 == 0o600


def _reconciler(world: World) -> Reconciler:
    service = world.service
    handover = Handover(service.settings.home, service.sweep_tokens, "http://api:8080", None)
    return Reconciler(world.service, RayJobs("http://127.0.0.1:9"), QueueLimits(), handover)
