"""`gapsweep delete` for sweeps on this machine: folder and MLflow runs, also after a kill."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import ViewType

from service.cli import deleting
from service.client.job_states import JobState
from service.run import deletion
from service.study.records import Role, Trial, TrialState
from service.sweep.folder_removal import list_aside
from service.sweep.home import Home
from service.tracking.mlflow_runs import SweepRuns
from service.tracking.outbox import TrialUpdate
from service.tracking.run_tags import REFIT_ROLE, ROLE_TAG, SWEEP_TAG
from tests.commands import Done, gapsweep
from tests.drivers import api_over_http
from tests.tracked import tracked
from tests.worlds import World

KEPT = Path(__file__).parents[1] / "data" / "sweep_of_format_2"
DAY = 86_400.0


class House:
    """A home with sweeps and their runs."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.client = mlflow.MlflowClient(self.home.mlflow_uri)

    def add(self, sweep_id: str, days: float = 0) -> None:
        """A finished sweep with a run, two trials' runs, an artifact of each, and a refit's run."""
        path = self.home.sweep(sweep_id).path
        shutil.copytree(KEPT, path)
        then = time.time() - DAY * days
        for file in path.rglob("*"):
            os.utime(file, (then, then))
        about = tracked(sweep_id, path / "spec.yaml")
        runs = SweepRuns(self.home.mlflow_uri, self.home.artifacts.as_uri(), about)
        state, role = TrialState.COMPLETE, Role.SEARCH
        trials = [Trial(number=n, state=state, role=role, params={}, ended=1.0) for n in range(2)]
        runs.write([TrialUpdate(trial=t, changed=True, epochs=()) for t in trials])
        opened = runs.open()
        self.client.log_artifact(opened.children[0], str(path / "summary.json"))
        tags = {SWEEP_TAG: sweep_id, ROLE_TAG: REFIT_ROLE}
        self.client.create_run(opened.experiment, tags=tags)

    def runs(self, sweep_id: str) -> dict[str, int]:
        """How many runs of the sweep MLflow has, deleted ones too, and artifact folders in all."""
        experiment = self.client.get_experiment_by_name("gapsweep")
        assert experiment is not None
        found = self.client.search_runs(
            [experiment.experiment_id], f"tags.`{SWEEP_TAG}` = '{sweep_id}'", ViewType.ALL
        )
        refits = [run for run in found if run.data.tags.get(ROLE_TAG) == REFIT_ROLE]
        return {"refits": len(refits), "others": len(found) - len(refits)}

    def artifacts(self) -> int:
        return len([p for p in self.home.artifacts.rglob("*") if p.is_file()])

    def delete(self, *words: str) -> Done:
        return gapsweep("delete", *words, "--home", str(self.home.path))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose MLflow database exists, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("home")
    House(folder).client.search_experiments()
    return folder


@pytest.fixture
def house(template: Path, tmp_path: Path) -> House:
    shutil.copytree(template, tmp_path / "home")
    return House(tmp_path / "home")


def test_a_sweep_goes_with_its_runs_and_artifacts_and_a_refits_run_stays(house: House) -> None:
    house.add("digits-1")
    house.add("digits-2")
    assert house.runs("digits-1") == {"refits": 1, "others": 3}
    files = house.artifacts()
    done = house.delete("digits-1", "--yes")
    assert (done.returncode, done.stdout) == (0, "digits-1 is deleted\n"), done.stderr
    assert not house.home.sweep("digits-1").path.exists()
    assert list_aside(house.home) == ()
    assert house.runs("digits-1") == {"refits": 1, "others": 0}
    assert house.runs("digits-2") == {"refits": 1, "others": 3}
    assert house.artifacts() == files / 2
    again = house.delete("digits-1", "--yes")
    assert again.returncode == 2
    assert "no sweep 'digits-1'" in again.stderr


def test_a_run_that_a_person_deleted_in_mlflow_goes_too(house: House) -> None:
    house.add("digits-1")
    experiment = house.client.get_experiment_by_name("gapsweep")
    assert experiment is not None
    for run in house.client.search_runs([experiment.experiment_id]):
        house.client.delete_run(run.info.run_id)
    assert house.delete("digits-1", "--yes").returncode == 0
    assert house.runs("digits-1")["others"] == 0


@pytest.mark.parametrize("step", ["set_aside", "_finish", "delete_aside", "mlflow"])
def test_a_deletion_that_is_killed_at_any_step_is_completed_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    house.add("digits-1")
    house.add("digits-2")

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        if step == "mlflow":
            dying.setattr(mlflow.MlflowClient, "delete_run", die)
        else:
            dying.setattr(deletion, step, die)
        assert house.delete("digits-1", "--yes").returncode == 130
    done = house.delete("digits-1", "--yes")
    assert done.returncode == 0, done.stderr
    assert "digits-1 is deleted" in done.stdout
    assert ("interrupted" in done.stdout) == (step != "set_aside")
    assert house.runs("digits-1")["others"] == 0
    assert [folder.sweep_id for folder in house.home.list_all()] == ["digits-2"]
    assert list_aside(house.home) == ()


def test_what_runs_and_what_a_service_has_is_refused(house: House) -> None:
    house.add("digits-1")
    house.add("digits-2")
    with house.home.sweep("digits-1").lock():
        busy = house.delete("digits-2", "digits-1", "--yes")
    assert busy.returncode == 2
    assert "digits-1 is being run by another process" in busy.stderr
    house.home.sweep("digits-1").driver_log.write_text("attempt 1\n")
    theirs = house.delete("digits-1", "--yes")
    assert theirs.returncode == 2
    assert "was run by a service, which has records of it" in theirs.stderr
    assert len(house.home.list_all()) == 2


def test_nothing_is_deleted_unless_it_is_confirmed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.add("digits-1")
    asked = house.delete("digits-1")
    assert asked.returncode == 2
    assert "would be deleted" in asked.stderr
    assert "--yes" in asked.stderr
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, code in ((False, 1), (True, 0)):
        monkeypatch.setattr(deleting.typer, "confirm", lambda _, answer=answer: answer)
        done = house.delete("digits-1")
        assert done.returncode == code, done.stderr
        assert house.home.sweep("digits-1").path.exists() == (not answer)


def test_old_sweeps_are_deleted_by_their_last_change(house: House) -> None:
    house.add("digits-1", days=40)
    house.add("digits-2", days=10)
    house.add("digits-3", days=50)
    house.home.sweep("digits-3").driver_log.write_text("a service's\n")
    done = house.delete("--older-than", "30", "--yes")
    assert (done.returncode, done.stdout) == (0, "digits-1 is deleted\n"), done.stderr
    assert [f.sweep_id for f in house.home.list_all()] == ["digits-3", "digits-2"]
    none = house.delete("--older-than", "30", "--yes")
    assert (none.returncode, "no such sweeps" in none.stdout) == (0, True)


def test_what_to_delete_must_be_said_in_one_way(house: House) -> None:
    for words in ((), ("digits-1", "--older-than", "3")):
        assert house.delete(*words, "--yes").returncode == 2
    assert house.delete("--older-than", "-1").returncode == 2


def test_the_list_shows_sizes_when_asked(house: House) -> None:
    house.add("digits-1")
    shown = gapsweep("list", "--sizes", "--home", str(house.home.path), env={"COLUMNS": "200"})
    assert "size" in shown.stdout
    assert "KiB" in shown.stdout
    assert "size" not in gapsweep("list", "--home", str(house.home.path)).stdout


def test_a_damaged_folder_and_a_link_can_be_deleted(house: House, tmp_path: Path) -> None:
    house.add("digits-1")
    (house.home.sweep("digits-1").format_file).write_text("nonsense")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("kept")
    house.home.sweep("link-1").path.symlink_to(elsewhere)
    done = house.delete("digits-1", "link-1", "--yes")
    assert done.returncode == 0, done.stderr
    assert house.home.list_all() == ()
    assert (elsewhere / "file").read_text() == "kept"


class TestOnAServer:
    """The same command with --server."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        made = World(tmp_path)
        yield made
        made.close()

    @pytest.fixture
    def env(self, world: World) -> Iterator[dict[str, str]]:
        """Of ann's terminal."""
        with api_over_http(world.service) as url:
            yield {"GAPSWEEP_SERVER": url, "GAPSWEEP_TOKEN": world.tokens["ann"]}

    def run(self, world: World, user: str = "ann") -> str:
        sweep_id = world.submit(user)
        world.brought_to(sweep_id, JobState.STARTING, JobState.SUCCEEDED)
        return sweep_id

    def states(self, world: World) -> dict[str, str]:
        items = world.call("GET", "/v1/sweeps").json()["items"]
        return {item["sweep_id"]: item["state"] for item in items}

    def test_sweeps_are_marked_once_and_then_not_found(
        self, world: World, env: dict[str, str]
    ) -> None:
        first, second = self.run(world), self.run(world)
        world.service.storage.record_size(first, 3 * 2**20)
        asked = gapsweep("delete", first, env=env)
        assert asked.returncode == 2
        assert "1 sweep on http://127.0.0.1" in asked.stderr
        assert "(3 MiB); confirm with --yes" in asked.stderr
        done = gapsweep("delete", first, "--yes", env=env)
        assert (done.returncode, done.stdout) == (0, f"{first} is being deleted\n"), done.stderr
        assert self.states(world) == {first: "deleting", second: "succeeded"}
        again = gapsweep("delete", first, "--yes", env=env)
        assert again.returncode == 2
        assert f"no sweep '{first}': it is being deleted" in again.stderr

    def test_the_list_and_the_status_show_sizes(self, world: World, env: dict[str, str]) -> None:
        sweep_id = self.run(world)
        world.service.storage.record_size(sweep_id, 3 * 2**20)
        wide = {**env, "COLUMNS": "200"}
        assert "3 MiB" in gapsweep("list", env=wide).stdout
        assert "3 MiB" in gapsweep("status", sweep_id, env=wide).stdout

    def test_ones_own_old_sweeps_are_deleted(self, world: World, env: dict[str, str]) -> None:
        mine, theirs = self.run(world), self.run(world, "bob")
        running = world.submit()
        done = gapsweep("delete", "--older-than", "1", "--yes", env=env)
        assert "no such sweeps" in done.stdout
        done = gapsweep("delete", "--older-than", "0", "--yes", env=env)
        assert done.returncode == 0, done.stderr
        assert self.states(world) == {mine: "deleting", theirs: "succeeded", running: "queued"}
