"""What every executor does with a sweep, and that all do it alike."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from service.run import sweep_session
from service.run.session_plan import More
from service.run.sweep_control import Control, Stop
from service.study.records import OUT_OF_BUDGET, Epoch, Role, TrialState
from service.sweep.sweep_record import Sweep, SweepState
from tests.contract.sweeps import Executor, Watcher, executor_on, facts, modules_in
from tests.rays import Ray

pytestmark = pytest.mark.usefixtures("bare_sweeps")
NETWORKS = """
import os
import time
import torch
from torch import nn


class Fragile(nn.Module):
    def __init__(self, input_shape, outputs, way="fine"):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(input_shape[0], 4), nn.ReLU(), nn.Dropout())
        self.last = nn.Linear(4, outputs)
        self.way = way

    def forward(self, x):
        if self.training and self.way == "raises":
            raise RuntimeError("this layer had enough")
        if self.training and self.way == "memory":
            raise MemoryError("40 GiB wanted")
        if self.way == "waits":
            time.sleep(0.02)
        scale = float("nan") if self.training and self.way == "nan" else 1.0
        return scale * self.last(self.layers(x))
"""
LOOPS = """
import os
import signal
from pathlib import Path

import torch
from torch import nn


def train(trial, marker=""):
    model = nn.Sequential(nn.Linear(30, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    parts = trial.regularise(model, optimizer)
    loader, _ = trial.data.loaders()
    trial.checkpoint(model=model, optimizer=optimizer)
    trial.restore(model=model, optimizer=optimizer)
    while True:
        for x, y in loader:
            batch = parts.batch(x, y)
            optimizer.zero_grad()
            parts.loss(model(batch.x), batch).backward()
            optimizer.step()
        if marker and trial.epoch == 2 and not trial.is_baseline and not Path(marker).exists():
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield trial.evaluate(model)


def report(trial, marker=""):
    for metrics in train(trial, marker):
        trial.report(metrics)
"""
WAYS = {
    "raises": "RuntimeError: this layer had enough",
    "memory": "out of memory: 40 GiB wanted",
    "nan": "train_running/loss is nan",
}


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with modules_in(
        tmp_path_factory.mktemp("modules"), contract_networks=NETWORKS, contract_loops=LOOPS
    ) as folder:
        yield folder


@pytest.fixture(scope="module")
def on_ray(
    shared_ray: Ray, modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Executor]:
    with executor_on(shared_ray, modules, tmp_path_factory.mktemp("ray") / "ray.log") as made:
        yield made


@pytest.fixture(scope="module")
def local(modules: Path) -> Executor:
    return Executor("local", modules)


@pytest.fixture(scope="module", params=["local", pytest.param("on_ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> Executor:
    found: Executor = request.getfixturevalue(request.param)
    return found


@pytest.mark.ray
def test_one_spec_and_seed_give_the_same_sweep_on_each(
    tmp_path: Path, local: Executor, on_ray: Executor
) -> None:
    """With what a sweep can have: pruning, early stopping, constraints, confirmations."""
    found: dict[str, Sweep] = {}
    weights: dict[str, dict[str, torch.Tensor]] = {}
    files: dict[str, set[str]] = {}
    for executor in (local, on_ray):
        name = executor.name
        spec = executor.spec(
            training={"max_epochs": 8, "lr": 0.02},
            early_stopping={"patience": 2, "min_delta": 0.05},
            constraints=[{"metric": "gap/loss", "max": 0.05}],
            search={"pruner": {"name": "median", "startup_trials": 2, "warmup_epochs": 1}},
            budget={"trials": 12},
            confirm={"top_k": 1, "trainings": 10},
        )
        folder = executor.new(tmp_path / name, spec)
        sweep = executor.run(spec, folder).sweep
        found[name] = sweep
        assert sweep.best is not None
        weights[name] = torch.load(folder.best_weights(sweep.best.number), weights_only=True)
        files[name] = {str(p.relative_to(folder.path)) for p in folder.path.rglob("*")}
    here, there = found["local"], found["ray"]
    assert {t.state for t in here.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert any(t.stopped_epoch and t.stopped_epoch < 8 for t in here.trials)
    assert {t.role for t in here.trials} == {Role.BASELINE, Role.SEARCH, Role.REPLICATE}
    for one, other in zip(here.trials, there.trials, strict=True):
        assert facts(one) == facts(other)
    assert here.best is not None
    assert here.best.anatomy is not None
    assert here.inspection is not None
    assert here.inspection.robustness.has_curves
    assert here.inspection == there.inspection
    assert weights["local"].keys() == weights["ray"].keys()
    assert all(torch.equal(weights["local"][k], weights["ray"][k]) for k in weights["local"])
    assert files["local"] == files["ray"] - {"ray.log"}


@pytest.mark.ray
@pytest.mark.parametrize(
    ("form", "more"),
    [
        ("train", {"budget": {"trials": 2}}),
        (
            "report",
            {
                "budget": {"trials": 8},
                "search": {"pruner": {"name": "median", "startup_trials": 2, "warmup_epochs": 1}},
                "confirm": {"top_k": 1, "trainings": 10},
            },
        ),
    ],
)
def test_a_loop_of_the_users_own_gives_the_same_sweep_on_each_killed_or_not(
    tmp_path: Path, local: Executor, on_ray: Executor, form: str, more: dict[str, Any]
) -> None:
    """Here undisturbed, with Ray killed once from inside of the loop, in its third epoch."""
    found: dict[str, Sweep] = {}
    marker = tmp_path / "killed"
    for executor in (local, on_ray):
        spec = executor.spec(
            trainable=f"contract_loops:{form}",
            model={"marker": str(marker) if executor is on_ray else ""},
            training={"max_epochs": 6},
            early_stopping={"patience": 2, "min_delta": 0.05},
            **more,
        )
        folder = executor.new(tmp_path / executor.name, spec)
        found[executor.name] = executor.run(spec, folder).sweep
    here, there = found["local"], found["ray"]
    assert marker.exists()
    pruned = bool(here.of_state(TrialState.PRUNED))
    assert pruned == ("search" in more)
    for one, other in zip(here.trials, there.trials, strict=True):
        assert facts(one) == facts(other)
    assert here.answer is not None
    assert here.answer.metric == ("test/loss" if "confirm" in more else "val/loss")
    assert here.inspection is not None
    assert here.inspection.robustness.has_curves


def test_ctrl_c_interrupts_it_and_it_goes_on_where_it_stood(
    executor: Executor, local: Executor, tmp_path: Path
) -> None:
    def interrupt(epoch: Epoch) -> None:
        if (epoch.trial, epoch.epoch) == (1, 2):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    spec = executor.spec(
        training={"max_epochs": 20}, search={"sampler": "random", "pruner": "none"}
    )
    folder = executor.new(tmp_path, spec)
    first = executor.run(spec, folder, Watcher(interrupt))
    assert signal.getsignal(signal.SIGINT) is before
    assert (first.sweep.state, first.stopped) == (SweepState.INTERRUPTED, Stop.INTERRUPTED)
    assert [t.state for t in first.sweep.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    at_least = len(first.sweep.trials[1].epochs)
    assert 2 <= at_least < 20
    watcher = Watcher()
    second = executor.run(spec, folder, watcher)
    assert second.sweep.state is SweepState.SUCCEEDED
    assert {t.state for t in second.sweep.trials} == {TrialState.COMPLETE}
    assert [[e.epoch for e in t.epochs] for t in second.sweep.trials] == [[*range(1, 21)]] * 3
    assert watcher.epochs[0].epoch == at_least + 1
    undisturbed = local.spec(
        training={"max_epochs": 20}, search={"sampler": "random", "pruner": "none"}
    )
    whole = local.run(undisturbed, local.new(tmp_path / "undisturbed", undisturbed)).sweep
    for trial, expected in zip(second.sweep.trials[:2], whole.trials[:2], strict=True):
        assert facts(trial) == facts(expected)


@pytest.mark.ray
def test_a_search_on_folds_is_the_same_on_each_interrupted_or_not(
    tmp_path: Path, local: Executor, on_ray: Executor
) -> None:
    """Here undisturbed, on Ray interrupted within the third fold of a trial."""
    changes: dict[str, Any] = {
        "training": {"max_epochs": 5, "lr": 0.02},
        "early_stopping": {"patience": 2, "min_delta": 0.05},
        "search": {
            "sampler": "random",
            "folds": 3,
            "pruner": {"name": "threshold", "upper": 0.45},
            "enqueue": [{"penalty": "none", "dropout": 0.01}],
        },
        "budget": {"trials": 5},
        "confirm": {"top_k": 1, "trainings": 10},
    }

    def interrupt(epoch: Epoch) -> None:
        if epoch.fold == 3:
            os.kill(os.getpid(), signal.SIGINT)

    found: dict[str, Sweep] = {}
    weights: dict[str, dict[str, torch.Tensor]] = {}
    for executor in (local, on_ray):
        spec = executor.spec(**changes)
        folder = executor.new(tmp_path / executor.name, spec)
        if executor is on_ray:
            cut = executor.run(spec, folder, Watcher(interrupt))
            assert cut.stopped is Stop.INTERRUPTED
            assert [len(t.folds) for t in cut.sweep.of_state(TrialState.RUNNING)] == [2]
        sweep = found[executor.name] = executor.run(spec, folder).sweep
        assert sweep.best is not None
        weights[executor.name] = torch.load(
            folder.best_weights(sweep.best.number), weights_only=True
        )
    here, there = found["local"], found["ray"]
    reasons = {t.reason for t in here.searched if t.state is TrialState.PRUNED}
    assert reasons >= {"pruned by the study", "dropped after fold 1 of 3"}
    for trial in here.of_state(TrialState.COMPLETE):
        assert len(trial.folds) == (0 if trial.replicate else 3)
    for one, other in zip(here.trials, there.trials, strict=True):
        assert facts(one) == facts(other)
    assert all(torch.equal(weights["local"][k], weights["ray"][k]) for k in weights["local"])
    assert here.inspection == there.inspection


def test_a_failing_trial_is_kept_with_its_reason_and_the_sweep_goes_on(
    executor: Executor, tmp_path: Path
) -> None:
    spec = executor.spec(
        trainable="contract_networks:Fragile",
        model={},
        space={"model.way": {"choice": [*WAYS, "fine"]}},
        search={
            "baseline": False,
            "pruner": "none",
            "enqueue": [{"model.way": way} for way in (*WAYS, "fine")],
        },
        budget={"trials": 4},
    )
    sweep = executor.run(spec, executor.new(tmp_path, spec)).sweep
    assert sweep.state is SweepState.SUCCEEDED
    failed = sweep.of_state(TrialState.FAILED)
    assert len(failed) == len(WAYS)
    for trial, (way, words) in zip(failed, WAYS.items(), strict=True):
        assert trial.params == {"model.way": way}
        assert words in (trial.reason or "")
    assert sweep.best is not None
    assert sweep.best.params == {"model.way": "fine"}


def test_pruned_trials_leave_no_files_and_the_finished_sweep_is_extended(
    executor: Executor, tmp_path: Path
) -> None:
    spec = executor.spec(search={"pruner": {"name": "threshold", "upper": 0.001}})
    folder = executor.new(tmp_path, spec)
    sweep = executor.run(spec, folder).sweep
    assert len(sweep.trials) == 3
    baseline, *others = sweep.trials
    assert baseline.state is TrialState.COMPLETE
    for trial in others:
        assert (trial.state, trial.reason) == (TrialState.PRUNED, "pruned by the study")
        assert [e.epoch for e in trial.epochs] == [1]
        assert not folder.trial(trial.number).exists()
    after = executor.run(spec, folder, more=More(trials=2)).sweep
    assert [facts(t) for t in after.trials[:3]] == [facts(t) for t in sweep.trials]
    assert len(after.trials) == 5


def test_paused_trials_go_on_from_their_checkpoints_as_if_they_had_not_been_paused(
    executor: Executor, tmp_path: Path
) -> None:
    search = {"sampler": "random", "baseline": False}
    rule = {"name": "pause_and_promote", "reduction_factor": 2, "k": 2}
    common: dict[str, Any] = {"training": {"max_epochs": 5, "lr": 0.01}, "budget": {"trials": 6}}
    spec = executor.spec(search={**search, "pruner": rule}, **common)
    folder = executor.new(tmp_path / "paused", spec)
    watcher = Watcher()
    sweep = executor.run(spec, folder, watcher).sweep
    plain = executor.spec(search={**search, "pruner": "none"}, **common)
    whole = executor.run(plain, executor.new(tmp_path / "whole", plain)).sweep
    order = [epoch.trial for epoch in watcher.epochs]
    again = {n for n, last in zip(order[1:], order, strict=False) if n != last and n < last}
    assert again  # trials that were paused went on
    assert sweep.state is SweepState.SUCCEEDED
    assert len(sweep.of_state(TrialState.COMPLETE)) >= 2
    assert {t.state for t in sweep.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial, expected in zip(sweep.trials, whole.trials, strict=True):
        assert trial.params == expected.params
        seen = [(e.epoch, e.metrics) for e in trial.epochs]
        assert seen == [(e.epoch, e.metrics) for e in expected.epochs[: len(seen)]]
        assert folder.checkpoint(trial.number).exists() is False
    assert any(t.number in again and t.state is TrialState.COMPLETE for t in sweep.trials)


def test_the_time_budget_ends_it(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds pass with every epoch: the minute is over in the second trial."""
    watcher = Watcher()
    clock = functools.partial(Control, clock=lambda: 10.0 * len(watcher.epochs))
    monkeypatch.setattr(sweep_session, "Control", clock)
    spec = executor.spec(
        trainable="contract_networks:Fragile",
        model={"way": "waits"},
        space={"dropout": {"float": [0.0, 0.6]}},
        budget={"trials": 100_000, "minutes": 1},
    )
    ending = executor.run(spec, executor.new(tmp_path, spec), watcher)
    assert ending.stopped is Stop.TIME
    assert ending.sweep.state is SweepState.SUCCEEDED
    assert not ending.sweep.of_state(TrialState.RUNNING)
    cut = [t for t in ending.sweep.trials if t.state is not TrialState.COMPLETE]
    assert [t.reason for t in cut] == [OUT_OF_BUDGET] * len(cut)
    assert len(cut) <= 1
