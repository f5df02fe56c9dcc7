"""Runs that are written into MLflow's database are as MLflow's client would have written them."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from service.base.uris import build_sqlite_url
from service.study.records import Epoch, Role, Trial, TrialState
from service.tracking import direct_writes, mlflow_runs
from service.tracking.mlflow_runs import SweepRuns
from service.tracking.new_database import create_database
from service.tracking.outbox import SinkEmptiedError, TrialUpdate
from service.tracking.tracked_sweep import TrackedSweep

_TABLES = ("runs", "tags", "params", "metrics", "latest_metrics", "inputs", "input_tags")
_FIRST = Trial(
    number=0,
    state=TrialState.RUNNING,
    role=Role.SEARCH,
    params={"penalty": "l2", "lambda": 1e-3, "text": "x" * 9000},
    started=1000.0,
)
_ODD = {"": 1.0, "top@2": 0.5, "nan": math.nan, "inf": math.inf, "less": -math.inf, "whole": 3}


def epoch(number: int, **metrics: float) -> Epoch:
    return Epoch(
        trial=0, epoch=number, time=1000.0 + number, metrics={"val/loss": 1 / number, **metrics}
    )


def update(trial: Trial, *epochs: Epoch, changed: bool = True) -> TrialUpdate:
    return TrialUpdate(trial=trial, changed=changed, epochs=epochs)


def end(trial: Trial, state: TrialState = TrialState.COMPLETE, **more: Any) -> Trial:
    return replace(trial, state=state, ended=1003.5, reason="why", best=_ODD, **more)


def list_rounds() -> list[list[TrialUpdate]]:
    """Trials that begin, pause, go on, and end, alone and together, with points that repeat."""
    paused = replace(_FIRST, state=TrialState.PAUSED)
    second = replace(_FIRST, number=1, role=Role.REPLICATE, replicate=2, confirms=0, seed=7)
    third = replace(_FIRST, number=2, started=1001.0, params={})
    return [
        [update(_FIRST, epoch(1, **_ODD))],
        [update(_FIRST, epoch(3), epoch(2), changed=False), update(second)],
        [update(paused, epoch(1, **_ODD)), update(end(third, TrialState.FAILED))],
        [update(_FIRST), update(end(second, folds=({"val/loss": 0.5}, {"val/loss": 0.7})))],
        [update(end(_FIRST, TrialState.PRUNED, ran_on={"device": "cpu"}), epoch(4))],
    ]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    create_database(build_sqlite_url(path))
    return path


def make_runs(folder: Path, empty: Path) -> SweepRuns:
    folder.mkdir(exist_ok=True)
    if not (folder / "mlflow.db").exists():
        (folder / "mlflow.db").write_bytes(empty.read_bytes())
    (folder / "spec.yaml").write_text("name: s\n")
    tracked = TrackedSweep(
        sweep_id="s-1",
        name="s",
        trainable="mine:network",
        data="digits",
        data_digest="abc",
        params={"sampler": "tpe"},
        spec=folder / "spec.yaml",
    )
    return SweepRuns(build_sqlite_url(folder / "mlflow.db"), "file:///artifacts", tracked)


def read_rows(folder: Path) -> dict[str, list[str]]:
    """The rows of all tables of runs; ids in the order of their runs' names."""
    found: dict[str, list[str]] = {}
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        runs = database.execute("SELECT run_uuid, name FROM runs").fetchall()
        names = {run: f"<{name}>" for run, name in runs}
        for table in _TABLES:
            cursor = database.execute(f"SELECT * FROM {table}")
            columns = [column for column, *_ in cursor.description]
            rows = (dict(zip(columns, row, strict=True)) for row in cursor)
            found[table] = sorted(_describe(row, names) for row in rows)
    return found


def _describe(row: dict[str, Any], names: dict[str, str]) -> str:
    for name in ("input_uuid", "source_id"):
        row.pop(name, None)
    if row.get("name") == "s-1":  # the sweep's own run begins when it is logged
        row.pop("start_time")
    text = repr(sorted(row.items(), key=lambda item: item[0]))
    return re.sub("[0-9a-f]{32}", lambda match: names.get(match.group(), match.group()), text)


def write(runs: SweepRuns, rounds: Sequence[Sequence[TrialUpdate]]) -> None:
    for some in rounds:
        runs.write(some)


def test_every_row_is_as_mlflows_client_writes_it(
    tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = make_runs(tmp_path / "direct", empty)
    direct.write([])
    with monkeypatch.context() as only_the_parent:
        only_the_parent.setattr(mlflow.MlflowClient, "log_batch", None)
        only_the_parent.setattr(mlflow.MlflowClient, "create_run", None)
        write(direct, list_rounds())
    monkeypatch.setattr(mlflow_runs, "find_sqlite_path", lambda _: None)
    by_client = make_runs(tmp_path / "client", empty)
    write(by_client, list_rounds())
    expected, found = read_rows(tmp_path / "client"), read_rows(tmp_path / "direct")
    assert len(expected["metrics"]) > 20
    for table in _TABLES:
        assert found[table] == expected[table], table


@pytest.mark.parametrize("what", ["a column", "the data set"])
def test_the_client_writes_what_cannot_be_written_directly(
    tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The tables of another version may differ."""
    runs = make_runs(tmp_path, empty)
    runs.write([])
    if what == "a column":
        monkeypatch.setattr(
            direct_writes, "_RUN", "INSERT INTO runs (other) VALUES (?, ?, ?, ?, ?)"
        )
    else:
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
            database.execute("DELETE FROM datasets")
    runs.write([update(_FIRST, epoch(1), changed=False)])
    found = mlflow.MlflowClient(runs._uri).get_run(runs.open().children[0])
    assert found.data.metrics == {"val/loss": 1.0}


def test_a_run_that_was_deleted_between_two_rounds_is_created_anew(
    tmp_path: Path, empty: Path
) -> None:
    runs = make_runs(tmp_path, empty)
    runs.write([update(_FIRST, epoch(1))])
    deleted = runs.open().children[0]
    mlflow.MlflowClient(runs._uri).delete_run(deleted)
    with pytest.raises(SinkEmptiedError):
        runs.write([update(_FIRST, epoch(2))])
    runs.write([update(_FIRST, epoch(1), epoch(2))])
    assert runs.open().children[0] != deleted
