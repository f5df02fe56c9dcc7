"""What a trial costs MLflow in calls, and that the parent of many trials stays small."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from service.base.uris import build_sqlite_url
from service.study.ranking import Ranking
from service.study.records import Epoch, Role, Trial, TrialState
from service.sweep.sweep_record import Sweep, SweepState
from service.tracking import mlflow_runs
from service.tracking.mlflow_runs import SweepRuns
from service.tracking.new_database import create_database
from service.tracking.outbox import TrialUpdate
from service.tracking.run_tags import ROLE_TAG, SEARCHED
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
    """The client that the sweep's runs use, as with a server."""
    monkeypatch.setattr(mlflow_runs, "find_sqlite_path", lambda _: None)
    create_database(uri := build_sqlite_url(tmp_path / "mlflow.db"))
    made = Counting(mlflow.MlflowClient(uri))
    monkeypatch.setattr(mlflow, "MlflowClient", lambda _: made)
    return made


@pytest.fixture
def runs(tmp_path: Path, client: Counting) -> SweepRuns:
    made = make_runs(tmp_path)
    made.write([])
    return made


def make_runs(folder: Path) -> SweepRuns:
    """The runs of a session of the one sweep in a folder."""
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
    return SweepRuns(build_sqlite_url(folder / "mlflow.db"), str(folder / "artifacts"), tracked)


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


def test_a_resumed_session_logs_only_what_is_missing(
    runs: SweepRuns, client: Counting, tmp_path: Path
) -> None:
    written = [update for number in range(3) for updates in live(number) for update in updates]
    runs.write(written[:-1])  # killed before the last trial's end
    again = make_runs(tmp_path)
    again.write([])
    client.calls.clear()
    for start, last in zip(written[::2], written[1::2], strict=True):
        again.write([replace(last, epochs=(*start.epochs, *last.epochs))])
    assert client.calls == {"log_batch": 1, "set_terminated": 1}
    for run in (client.get_run(run) for run in again.open().children.values()):
        assert run.info.status == "FINISHED"
        points = client.get_metric_history(run.info.run_id, "val/loss")
        assert [point.step for point in points] == [1, 2]


def test_a_trial_that_failed_after_all_is_logged_again(
    runs: SweepRuns, client: Counting, tmp_path: Path
) -> None:
    *_, last = [update for updates in live(0) for update in updates]
    runs.write([last])
    failed = replace(last.trial, state=TrialState.FAILED, reason="lost")
    again = make_runs(tmp_path)
    again.write([replace(last, trial=failed)])
    (run,) = again.open().children.values()
    found = client.get_run(run)
    assert (found.info.status, found.data.tags["gapsweep.reason"]) == ("FAILED", "lost")


def test_an_end_is_written_after_the_epochs_of_an_update_that_is_taken_apart() -> None:
    *_, last = [update for updates in live(0) for update in updates]
    parts = last.split()
    assert [(p.changed, len(p.epochs)) for p in parts] == [(False, 1), (True, 0)]


def test_the_filter_of_searches_shows_the_sweeps_own_run_also_of_an_older_version(
    runs: SweepRuns, client: Counting, tmp_path: Path
) -> None:
    def search() -> list[str]:
        return [run.info.run_id for run in client.search_runs([opened.experiment], SEARCHED)]

    opened = runs.open()
    assert search() == [opened.parent]
    client.delete_tag(opened.parent, ROLE_TAG)
    assert search() == []
    again = make_runs(tmp_path).open()
    assert again.parent == opened.parent
    assert search() == [opened.parent]


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
