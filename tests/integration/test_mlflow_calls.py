"""What a trial costs MLflow in calls, and that the parent of many trials stays small."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest

from service.base.uris import build_sqlite_url
from service.study.ranking import Ranking
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking.mlflow_runs import SweepRuns
from service.tracking.new_database import create_database
from service.tracking.outbox import TrialUpdate
from service.tracking.tracked_sweep import TrackedSweep

METRICS = {
    f"{side}/{name}": 0.5 for side in ("train", "val", "gap") for name in ("loss", "accuracy")
}


class Counting:
    """MLflow's client, whose calls are counted."""

    def __init__(self, client: mlflow.MlflowClient) -> None:
        self.calls: Counter[str] = Counter()
        self._client = client

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._client, name)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counting:
    """The client that the sweep's runs use."""
    create_database(uri := build_sqlite_url(tmp_path / "mlflow.db"))
    made = Counting(mlflow.MlflowClient(uri))
    monkeypatch.setattr(mlflow, "MlflowClient", lambda _: made)
    return made


@pytest.fixture
def runs(tmp_path: Path, client: Counting) -> SweepRuns:
    (tmp_path / "spec.yaml").write_text("name: s\n")
    tracked = TrackedSweep(
        sweep_id="s-1",
        name="s",
        trainable="mine:network",
        data="digits",
        data_digest="abc",
        params={"sampler": "tpe"},
        spec=tmp_path / "spec.yaml",
    )
    made = SweepRuns(build_sqlite_url(tmp_path / "mlflow.db"), str(tmp_path / "artifacts"), tracked)
    made.write([])
    return made


def live(number: int) -> Iterator[Sequence[TrialUpdate]]:
    """The updates of a trial: at its start, with its epochs, at its end."""
    trial = Trial(
        number=number,
        state=TrialState.RUNNING,
        role=Role.SEARCH,
        params={"dropout": 0.1},
        started=time.time(),
    )
    epochs = [Epoch(trial=number, epoch=e, time=time.time(), metrics=METRICS) for e in (1, 2)]
    yield [TrialUpdate(trial=trial, changed=True, epochs=(epochs[0],))]
    yield [TrialUpdate(trial=end(trial), changed=True, epochs=(epochs[1],))]


def end(trial: Trial) -> Trial:
    return Trial(
        number=trial.number,
        state=TrialState.COMPLETE,
        role=trial.role,
        params=trial.params,
        value=0.5,
        violation=0.0,
        best=METRICS,
        ran_on={"device": "cpu"},
        started=trial.started,
        ended=time.time(),
    )


def test_a_trial_is_five_calls_and_the_end_of_a_sweep_no_more_for_many(
    runs: SweepRuns, client: Counting
) -> None:
    done = []
    for number in range(12):
        before = client.calls.total()
        for updates in live(number):
            runs.write(updates)
            done.append(updates[0].trial)
        assert client.calls.total() - before == 5
    run = client.get_run(runs.open().children[3])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"dropout": "0.1"}
    assert run.data.metrics.items() >= {**METRICS, "best/val/loss": 0.5}.items()
    assert run.data.tags["gapsweep.state"] == "complete"
    assert [m.step for m in client.get_metric_history(run.info.run_id, "val/loss")] == [1, 2]
    sizes = []
    for trials in (done[1:2], done[1::2]):
        client.calls.clear()
        runs.finish(sweep_of(trials), "nothing", [], None)
        assert client.calls["set_terminated"] == 1  # the parent's
        parent = client.get_run(runs.open().parent).data
        sizes.append(
            (client.calls.total(), *map(len, (parent.params, parent.metrics, parent.tags)))
        )
    assert sizes[0] == sizes[1]


def sweep_of(trials: Sequence[Trial]) -> Sweep:
    return Sweep(
        sweep_id="s-1",
        name="s",
        state=SweepState.SUCCEEDED,
        seconds=1.0,
        ranking=Ranking("val/loss", "min"),
        max_epochs=2,
        trials=tuple(trials),
    )
