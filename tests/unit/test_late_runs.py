"""MLflow is imported and written to late, and on the outbox's own thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.study.records import Epoch, Role, Trial, TrialState
from service.tracking.late_runs import LateRuns
from service.tracking.outbox import Outbox, TrialUpdate
from service.tracking.tracked_sweep import TrackedSweep
from tests.patience import patience, wait_for

TRIAL = Trial(number=0, state=TrialState.RUNNING, role=Role.SEARCH, params={})
EPOCH = Epoch(trial=0, epoch=1, time=0.0, metrics={"val/loss": 1.0})


class Sink:
    """It remembers the threads that wrote."""

    batch = 1

    def __init__(self) -> None:
        self.threads: list[str] = []

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Remember it."""
        self.threads.append(threading.current_thread().name)

    def is_away(self, error: Exception) -> bool:
        """It never is."""
        return False


def test_a_resting_sink_is_used_with_the_first_epoch() -> None:
    sink = Sink()
    box = Outbox(sink, "late", period=0.01, rest=patience(600))
    box.started(TRIAL)
    threading.Event().wait(0.2)
    assert not sink.threads
    box.epoch(EPOCH)
    wait_for(lambda: sink.threads, 10)
    assert set(sink.threads) == {"late"}
    assert box.close(lambda: None)


def test_a_resting_sink_is_used_after_its_rest_and_by_the_end() -> None:
    rested, closed = Sink(), Sink()
    box = Outbox(rested, "late", period=0.01, rest=0.05)
    wait_for(lambda: rested.threads, 10)
    assert box.close(lambda: None)
    other = Outbox(closed, "late", period=0.01, rest=patience(600))
    assert other.close(lambda: None)
    assert closed.threads


def test_an_mlflow_that_cannot_be_imported_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "service.tracking.mlflow_runs", None)
    sweep = TrackedSweep(
        sweep_id="x-1",
        name="x",
        trainable="x:X",
        data="x",
        data_digest="0",
        params={},
        spec=tmp_path / "spec.yaml",
    )
    runs = LateRuns(f"sqlite:///{tmp_path}/mlflow.db", None, sweep)
    box = Outbox(runs, "late", period=0.01, patience=0.05)
    box.started(TRIAL)
    assert not box.close(runs.close)
    assert "service.tracking.mlflow_runs" in str(box.error)
    assert not box.losses.list("MLflow")
    assert not runs.losses.list("MLflow")


def test_why_a_sink_that_does_not_answer_lacks_something_is_told() -> None:
    """No write has failed yet: the first one still waits."""
    answers = threading.Event()

    class Silent(Sink):
        def write(self, updates: Sequence[TrialUpdate]) -> None:
            answers.wait()

    box = Outbox(Silent(), "late", period=0.01, patience=0.05)
    box.started(TRIAL)
    assert not box.close(lambda: None)
    assert box.error == "no answer for 0.05 s"
    answers.set()
