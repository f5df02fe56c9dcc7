"""MLflow refuses an item, or somebody deletes what was logged: everything else is logged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR
from mlflow.utils.validation import _validate_metric_name, _validate_tag_name

from service.study.ranking import Ranking
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.lost_items import Loss
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking import mlflow_runs
from service.tracking.entities import make_name
from service.tracking.mlflow_runs import SweepRuns
from service.tracking.outbox import Outbox
from service.tracking.refusals import is_away
from tests.patience import patience, wait_for
from tests.tracked import tracked

_names = iter(range(1000))
Client = mlflow.MlflowClient


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one MLflow database for all tests: to create one takes seconds."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def runs(place: Path) -> SweepRuns:
    return _make_runs(place, f"x-{next(_names)}")


def _make_runs(place: Path, sweep_id: str, **changes: Any) -> SweepRuns:
    (place / "spec.yaml").write_text("name: x\n")
    about = tracked(sweep_id, place / "spec.yaml")
    return SweepRuns(
        f"sqlite:///{place / 'mlflow.db'}",
        (place / "artifacts").as_uri(),
        replace(about, **changes),
    )


def _trial(number: int, state: TrialState = TrialState.COMPLETE, **changes: Any) -> Trial:
    first = Trial(
        number=number,
        state=state,
        role=Role.SEARCH,
        params={"dropout": 0.5},
        best={"val/loss": 0.5},
        value=0.5 if state is TrialState.COMPLETE else None,
        started=1000.0,
        ended=None if state is TrialState.RUNNING else 2000.0,
        epochs=tuple(_epoch(number, n) for n in (1, 2)),
    )
    return replace(first, **changes)


def _epoch(trial: int, epoch: int, **metrics: float) -> Epoch:
    values = {"val/loss": 1.0 / epoch, **metrics}
    return Epoch(trial=trial, epoch=epoch, time=1000.0 + epoch, metrics=values)


def _sweep(*trials: Trial) -> Sweep:
    return Sweep(
        sweep_id="x",
        name="x",
        state=SweepState.SUCCEEDED,
        seconds=1.0,
        ranking=Ranking("val/loss", "min"),
        max_epochs=2,
        trials=trials,
    )


def _log(runs: SweepRuns, *trials: Trial, seconds: float = 20) -> tuple[bool, Outbox]:
    """Log a whole sweep as a session does; whether all of it was logged that is not refused."""
    box = Outbox(runs, "mlflow", period=0.01, reread=lambda: {t.number: t.epochs for t in trials})
    box.repeat(trials)
    sweep = _sweep(*trials)
    closed = box.close(lambda: runs.finish(sweep, "a verdict", [], None), patience(seconds))
    return closed, box


def _found(runs: SweepRuns) -> dict[str, mlflow.entities.Run]:
    """The sweep's runs by name."""
    opened = runs.open()
    return {run.info.run_name: run for run in opened._experiment.find_runs()}


def _children(runs: SweepRuns) -> dict[int, str]:
    """The runs that the outbox's thread has found so far."""
    return {} if runs._runs is None else runs._runs.children


def _write_as_to_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write by MLflow's client, though the database is here."""
    monkeypatch.setattr(mlflow_runs, "find_sqlite_path", lambda _: None)


def _points(runs: SweepRuns, name: str, metric: str) -> list[float]:
    client, run = mlflow.MlflowClient(runs._uri), _found(runs)[name].info.run_id
    return [m.value for m in client.get_metric_history(run, metric)]


@pytest.mark.parametrize(
    "name",
    ["top@2", "", "/", "a/", "/a", "..", "../a", "a//b", "a/./b", ".", "π≈3", "x" * 300, "a\nb"],
)
def test_any_metric_is_logged_under_a_name_that_mlflow_accepts(name: str) -> None:
    made = make_name(name)
    _validate_metric_name(made)
    _validate_tag_name(made)
    assert len(made) <= 250


def test_different_names_stay_different() -> None:
    names = ["top@2", "top#2", "top_2", make_name("top@2"), "a/", "a/_", "a", "a/.", "_", "", "/"]
    names += ["x" * 260, "x" * 261, "x" * 250]
    assert len({make_name(name) for name in names}) == len(names)
    assert make_name("val/loss") == "val/loss"
    assert make_name("Genauigkeit für ß") == "Genauigkeit für ß"


def test_strange_metrics_are_logged_with_all_the_others(runs: SweepRuns) -> None:
    strange = {"top@2": 0.9, "": 1.0, "nan": float("nan"), "inf": float("inf"), "a/": 2.0}
    trial = _trial(
        0,
        epochs=(_epoch(0, 1, **strange), _epoch(0, 2)),
        best={"val/loss": 0.5, **strange},
        params={"choice@": "x" * 9000, "nul": "a\0b", "surrogate": "\ud800"},
        reason="y" * 9000 + "\0",
    )
    closed, box = _log(runs, trial, _trial(1))
    assert closed, box.error
    assert not box.losses.list("")
    assert not runs.losses.list("")
    run = _found(runs)["000 none"]
    assert run.data.metrics[make_name("top@2")] == 0.9
    assert run.data.metrics[make_name("best/top@2")] == 0.9
    assert run.data.params[make_name("choice@")].startswith("xxx")
    assert {r.info.status for r in _found(runs).values()} == {"FINISHED"}


def test_a_refused_metric_is_skipped_alone_and_reported(
    runs: SweepRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch = Client.log_batch

    def refuse(client: Client, run_id: str, metrics: Any = (), **more: Any) -> Any:
        if any(m.key == "poison" for m in metrics):
            raise MlflowException.invalid_parameter_value("no poison")
        return log_batch(client, run_id, metrics, **more)

    monkeypatch.setattr(Client, "log_batch", refuse)
    _write_as_to_a_server(monkeypatch)
    trial = _trial(0, epochs=(_epoch(0, 1, poison=1.0), _epoch(0, 2)))
    closed, box = _log(runs, trial, _trial(1))
    assert closed, box.error
    assert runs.losses.list("MLflow") == (
        Loss(
            place="MLflow",
            what="metric poison",
            reason="MlflowException: no poison",
            count=1,
        ),
    )
    assert _points(runs, "000 none", "val/loss") == [1.0, 0.5]
    assert _points(runs, "001 none", "val/loss") == [1.0, 0.5]
    assert {r.info.status for r in _found(runs).values()} == {"FINISHED"}


def test_an_item_that_makes_the_server_fail_is_found_while_the_server_answers_otherwise(
    runs: SweepRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch = Client.log_batch

    def fail(client: Client, run_id: str, metrics: Any = (), **more: Any) -> Any:
        if any(m.key == "poison" for m in metrics):
            raise MlflowException("crashed", INTERNAL_ERROR)
        return log_batch(client, run_id, metrics, **more)

    monkeypatch.setattr(Client, "log_batch", fail)
    _write_as_to_a_server(monkeypatch)
    poisoned = _trial(0, epochs=(_epoch(0, 1, poison=1.0), _epoch(0, 2)))
    closed, box = _log(runs, poisoned, _trial(1))
    assert closed, box.error
    (loss,) = box.losses.list("MLflow")
    assert (loss.what, loss.reason) == ("trial 0, epoch 1", "MlflowException: crashed")
    assert _points(runs, "000 none", "val/loss") == [0.5]
    assert _points(runs, "001 none", "val/loss") == [1.0, 0.5]
    assert {r.info.status for r in _found(runs).values()} == {"FINISHED"}


def test_while_mlflow_is_away_nothing_is_skipped(
    runs: SweepRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.open()
    for name in ("log_batch", "search_runs"):
        monkeypatch.setattr(Client, name, _raise(ConnectionError("away")))
    closed, box = _log(runs, _trial(0), seconds=0.3)
    assert not closed
    assert box.error is not None
    assert not box.losses.list("")
    assert not runs.losses.list("")


def _raise(error: Exception) -> Callable[..., Any]:
    def method(*_: Any, **__: Any) -> Any:
        raise error

    return method


def test_a_deleted_experiment_is_created_anew_with_all_that_was_logged(place: Path) -> None:
    runs = _make_runs(place, f"x-{next(_names)}")
    box = Outbox(runs, "mlflow", period=0.01, reread=lambda: {0: first.epochs})
    first, second = _trial(0), _trial(1)
    box.repeat([first])
    deadline = patience(20)
    wait_for(lambda: 0 in _children(runs) and not box._changed, 20)
    old = runs.open().experiment
    mlflow.MlflowClient(runs._uri).delete_experiment(old)
    box.repeat([second])
    sweep = _sweep(first, second)
    assert box.close(lambda: runs.finish(sweep, "a verdict", [], None), deadline), box.error
    assert runs.open().experiment != old
    client = mlflow.MlflowClient(runs._uri)
    assert client.get_experiment_by_name("gapsweep").experiment_id == runs.open().experiment  # type: ignore[union-attr]  # it is there
    assert client.get_experiment(old).lifecycle_stage == "deleted"
    assert sorted(_found(runs)) == ["000 none", "001 none", sorted(_found(runs))[-1]]
    for name in ("000 none", "001 none"):
        assert _points(runs, name, "val/loss") == [1.0, 0.5]
    assert {r.info.status for r in _found(runs).values()} == {"FINISHED"}


def test_a_deleted_experiment_is_restored_by_one_who_may_not_rename_it(
    runs: SweepRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = (_trial(0), _trial(1))
    assert _log(runs, *trials)[0]
    old = runs.open().experiment
    mlflow.MlflowClient(runs._uri).delete_experiment(old)
    refusal = MlflowException("API request to endpoint /x failed with error code 403 != 200")
    for name in ("rename_experiment", "delete_experiment"):
        monkeypatch.setattr(Client, name, _raise(refusal))
    closed, box = _log(runs, *trials)
    assert closed, box.error
    assert runs.open().experiment == old
    assert len(_found(runs)) == 3
    assert {r.info.status for r in _found(runs).values()} == {"FINISHED"}


@pytest.mark.parametrize("what", ["parent", "child"])
def test_a_deleted_run_is_created_anew(runs: SweepRuns, what: str) -> None:
    trials = (_trial(0), _trial(1))
    assert _log(runs, *trials)[0]
    deleted = runs.open().parent if what == "parent" else runs.open().children[0]
    mlflow.MlflowClient(runs._uri).delete_run(deleted)
    closed, box = _log(runs, *trials)
    assert closed, box.error
    found = _found(runs)
    assert len(found) == 3
    assert deleted not in {r.info.run_id for r in found.values()}
    children = [r for r in found.values() if "mlflow.parentRunId" in r.data.tags]
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {runs.open().parent}
    assert _points(runs, "000 none", "val/loss") == [1.0, 0.5]
    assert {r.info.status for r in found.values()} == {"FINISHED"}


def test_runs_are_ended_though_the_store_of_artifacts_is_away(
    runs: SweepRuns, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Client, "log_artifact", _raise(ConnectionError("no artifacts")))
    closed, box = _log(runs, _trial(0), seconds=0.5)
    assert not closed
    assert box.error == "ConnectionError: no artifacts"
    assert {r.info.status for r in _found(runs).values()} == {"FINISHED"}


def test_no_run_stays_open_after_the_end_of_a_resumed_sweep(runs: SweepRuns) -> None:
    running = _trial(0, TrialState.RUNNING)
    box = Outbox(runs, "mlflow", period=0.01)
    box.repeat([running, _trial(1, TrialState.RUNNING)])
    wait_for(lambda: len(_children(runs)) == 2 and not box._changed, 20)
    box.close(runs.close)  # as a session that ends by an error
    assert {r.info.status for r in _found(runs).values()} == {"KILLED"}
    again = _make_runs(Path(runs._sweep.spec).parent, runs._sweep.sweep_id)
    still_running = _trial(1, TrialState.RUNNING)
    assert _log(again, _trial(0), still_running)[0]
    statuses = {name[:3]: r.info.status for name, r in _found(again).items()}
    assert statuses == {"000": "FINISHED", "001": "KILLED", runs._sweep.sweep_id[:3]: "FINISHED"}


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (ConnectionError("x"), True),
        (TimeoutError("x"), True),
        (MlflowException("API request to http://x failed with exception x"), True),
        (MlflowException("API request to endpoint /x failed with error code 413 != 200"), False),
        (MlflowException("API request to endpoint /x failed with error code 429 != 200"), True),
        (MlflowException("API request to endpoint /x failed with error code 502 != 200"), True),
        (MlflowException.invalid_parameter_value("x"), False),
        (ValueError("x"), False),
    ],
)
def test_away_and_refused_are_told_apart(error: Exception, away: bool) -> None:
    assert is_away(error) is away
