"""The cost of a real sweep, beside the time that it took: folds, a replicate, an interruption."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from service.report.report_data import build_report
from service.run.sweep_control import Stop
from service.study.importance import Importances
from service.study.records import Epoch
from service.sweep.summary import summarise
from service.sweep.sweep_record import SweepState
from tests.contract.sweeps import Executor, Watcher

pytestmark = pytest.mark.usefixtures("without_plots")

NAP = 0.05
"""Seconds that each epoch takes at least."""
LOOP = f"""
import time
from torch import nn


def train(trial):
    model = nn.Sequential(nn.Linear(30, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))
    trial.checkpoint(model=model)
    trial.restore(model=model)
    while True:
        time.sleep({NAP})
        yield trial.evaluate(model)
"""


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executor:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    (tmp_path / "napping_loop.py").write_text(LOOP)
    monkeypatch.syspath_prepend(tmp_path)
    return Executor("local", tmp_path)


def test_it_is_the_time_of_its_trials_and_counts_nothing_twice(
    local: Executor, tmp_path: Path
) -> None:
    spec = local.spec(
        trainable="napping_loop:train",
        model={},
        training={"max_epochs": 3},
        space={"dropout": {"float": [0.0, 0.6]}},
        search={"folds": 2, "sampler": "random", "pruner": "none"},
        budget={"trials": 3},
        confirm={"top_k": 1, "trainings": 10},
    )
    folder = local.new(tmp_path / "home", spec)

    def interrupt(epoch: Epoch) -> None:
        if (epoch.trial, epoch.epoch) == (1, 4):  # the first of its second fold
            os.kill(os.getpid(), signal.SIGINT)

    start = time.monotonic()
    assert local.run(spec, folder, Watcher(interrupt)).stopped is Stop.INTERRUPTED
    sweep = local.run(spec, folder).sweep
    wall = time.monotonic() - start
    assert sweep.state is SweepState.SUCCEEDED
    cost = sweep.cost
    assert cost is not None
    search = sum(len(t.epochs) for t in sweep.trials if t.confirms is None)
    confirmation = sum(len(t.epochs) for t in sweep.trials if t.confirms is not None)
    assert (search, confirmation > 0) == (3 * 2 * 3, True)
    assert cost.search_cpu_seconds >= NAP * search
    assert cost.confirmation_cpu_seconds >= NAP * confirmation
    assert cost.search_cpu_seconds + cost.confirmation_cpu_seconds <= min(wall, sweep.seconds)
    whole = [t for t in sweep.trials if t.number != 1]  # the others were in one session
    from_clock = sum(t.ended - t.started for t in whole if t.ended and t.started)
    assert sum(t.seconds for t in whole) == pytest.approx(from_clock, rel=0.1)
    assert cost.search_gpu_seconds == cost.confirmation_gpu_seconds == 0.0
    hours = summarise(sweep, folder).cost
    assert hours is not None
    assert hours.search_cpu_hours == pytest.approx(cost.search_cpu_seconds / 3600)
    shown = build_report(sweep, Importances({}, {})).cost
    assert shown.startswith("CPU-hours: ")
    assert "of the confirmation" in shown
