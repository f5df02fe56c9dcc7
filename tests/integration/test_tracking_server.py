"""The tracking server is away: the sweep goes on, and what is missing is written later."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
import uvicorn
from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR

from service.base.ports import find_free_port
from service.run import session_log
from service.run.sweep_control import Orders
from service.study.ranking import Ranking
from service.study.records import Role, Trial, TrialState
from service.sweep.home import Home
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking import mlflow_runs
from service.tracking.mlflow_runs import SweepRuns
from service.tracking.new_database import create_database
from service.tracking.outbox import TrialUpdate
from service.tracking.run_tags import SWEEP_TAG
from service.tracking.unended_runs import find_open_runs
from tests.commands import DIGITS, LOCAL, gapsweep, settings
from tests.contract.sweeps import Executor
from tests.forks import forked_script
from tests.patience import patience, wait_for
from tests.tracked import tracked

pytestmark = pytest.mark.usefixtures("without_plots")


@contextmanager
def _server(folder: Path, port: int) -> Iterator[str]:
    """The process that ``mlflow server`` starts, forked with MLflow imported."""
    script = Path(uvicorn.__file__).parent / "__main__.py"
    command = forked_script(script, "--port", str(port), "mlflow.server.fastapi_app:app")
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        BACKEND_STORE_URI_ENV_VAR: f"sqlite:///{folder / 'server.db'}",
        ARTIFACT_ROOT_ENV_VAR: str(folder / "artifacts"),
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        uri = f"http://127.0.0.1:{port}"
        wait_for(lambda: _is_healthy(uri), 90)
        yield uri
    finally:
        process.terminate()
        process.wait(patience(30))


def _is_healthy(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2):
            return True
    except OSError:
        return False


def test_without_a_server_it_is_told_and_a_resume_writes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = find_free_port()
    env = {"GAPSWEEP_MLFLOW_URI": f"http://127.0.0.1:{port}"}
    home = ("--home", str(tmp_path / "home"))
    small = settings("training.max_epochs=3", "budget.trials=4", "confirm=off", LOCAL)
    with monkeypatch.context() as patch:
        patch.setattr(session_log, "_PATIENCE", 1.0)
        done = gapsweep("run", str(DIGITS), "--json", *home, *small, env=env)
    assert done.returncode == 0, done.stderr
    assert "MLflow is incomplete for this sweep" in done.stderr
    with _server(tmp_path, port) as uri:
        again = gapsweep("resume", "latest", "--json", *home, env=env)
        assert again.returncode == 0, again.stderr
        assert "lacks" not in again.stderr
        summary = json.loads(again.stdout)
        assert summary["trials"] == json.loads(done.stdout)["trials"]
        client = mlflow.MlflowClient(uri)
        experiment = client.get_experiment_by_name("gapsweep")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
        assert (len(runs), len(children)) == (5, 4)
        for run in children:
            assert client.get_metric_history(run.info.run_id, "gap/loss")


def test_a_run_whose_answer_was_lost_is_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec.yaml").write_text("name: x\n")
    about = tracked("x-1", tmp_path / "spec.yaml")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    runs = SweepRuns(uri, (tmp_path / "artifacts").as_uri(), about)
    create, lost = mlflow.MlflowClient.create_run, ["the parent's", "the child's"]

    def create_and_lose(client: mlflow.MlflowClient, *args: Any, **kwargs: Any) -> Any:
        made = create(client, *args, **kwargs)
        if lost:
            raise ConnectionError(f"{lost.pop(0)} answer was lost")
        return made

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", create_and_lose)
    monkeypatch.setattr(mlflow_runs, "find_sqlite_path", lambda _: None)  # as with a server
    trial = Trial(number=0, state=TrialState.RUNNING, role=Role.BASELINE, params={"dropout": 0.0})
    news = [TrialUpdate(trial=trial, changed=True, epochs=())]
    for _ in range(2):
        with pytest.raises(ConnectionError):
            runs.write(news)
    runs.write(news)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("gapsweep")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert sorted(list(run.data.params) for run in found) == [["dropout"], ["trials"]]


def test_no_run_is_open_when_the_session_is_over(tmp_path: Path) -> None:
    """A run of a trial that is paused is open too, and so is a second one of the sweep's own."""
    (tmp_path / "spec.yaml").write_text("name: x\n")
    about = tracked("x-1", tmp_path / "spec.yaml")
    uri, places = f"sqlite:///{tmp_path / 'mlflow.db'}", (tmp_path / "artifacts").as_uri()
    states = (TrialState.PAUSED, TrialState.RUNNING, TrialState.COMPLETE)
    trials = [Trial(number=n, state=s, role=Role.SEARCH, params={}) for n, s in enumerate(states)]
    news = [TrialUpdate(trial=t, changed=True, epochs=()) for t in trials]
    sweep = Sweep(
        sweep_id="x-1",
        name="x",
        state=SweepState.INTERRUPTED,
        seconds=1.0,
        ranking=Ranking("val/loss", "min"),
        max_epochs=2,
        trials=tuple(trials),
    )
    endings: list[Callable[[SweepRuns], None]] = [
        lambda runs: runs.finish(sweep, "", (), None),
        lambda runs: runs.close(),
    ]
    for end in endings:
        runs, client = SweepRuns(uri, places, about), mlflow.MlflowClient(uri)
        runs.write(news)
        opened = runs.open()
        client.create_run(opened.experiment, tags={SWEEP_TAG: "x-1"})
        left = {run.info.run_id for run in find_open_runs(client, opened.experiment)}
        assert left > {opened.parent}
        end(runs)
        ended = Counter(r.info.status for r in client.search_runs([opened.experiment]))
        assert ended.pop("FINISHED") == 1
        assert ended.keys() == {"KILLED"}


@pytest.mark.parametrize("served", [True, False])
def test_a_sweep_of_a_service_waits_longer_for_an_mlflow_that_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: bool
) -> None:
    """Nobody waits for its end at a terminal, and its parent would stay open."""
    monkeypatch.setattr(session_log, "_PATIENCE", 0.5)
    finish, first = SweepRuns.finish, []

    def finish_when_back(runs: SweepRuns, *arguments: Any) -> None:
        first.append(time.monotonic())
        if time.monotonic() < first[0] + 3:
            raise ConnectionError("it starts")
        finish(runs, *arguments)

    monkeypatch.setattr(SweepRuns, "finish", finish_when_back)
    local = Executor("local", tmp_path)
    spec = local.spec(budget={"trials": 1})
    home = Home(tmp_path / "home")
    folder = local.new(home.path, spec)
    create_database(home.mlflow_uri)
    ending = local.run(spec, folder, orders=Orders() if served else None)
    assert (ending.unlogged is None) == served
    client = mlflow.MlflowClient(home.mlflow_uri)
    if served:
        experiment = client.get_experiment_by_name("gapsweep")
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        assert [run.info.status for run in found] == ["FINISHED"] * 2
