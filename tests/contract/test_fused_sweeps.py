"""Sweeps whose trials share their steps are the same sweeps, on either executor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.study.records import Role, TrialState
from service.study.slot_flow import Widths
from service.sweep.home import SweepFolder
from service.sweep.sweep_record import Sweep
from tests.contract.same_sweeps import CHANGES, check_same
from tests.contract.sweeps import Executor, Watcher, executor_on, facts, modules_in
from tests.rays import Ray

pytestmark = pytest.mark.usefixtures("bare_sweeps")
MORTAL = """
import os
import signal
import sys

import torch

from trainables.models import MLP


class Killing(torch.optim.SGD):
    taken = 0

    def step(self, closure=None):
        self.taken += 1
        if self.taken == 25 and self.defaults["lr"] == 0.0625:
            self.end()
        return super().step(closure)

    def end(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Exiting(Killing):
    def end(self):
        sys.exit("enough")


class Mortal(MLP):
    def __init__(self, end, **options):
        super().__init__(**options)
        self.kind = {"kill": Killing, "exit": Exiting, "none": torch.optim.SGD}[end]

    def optimizer(self, parameters, training):
        return self.kind(parameters, lr=training.lr)
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with modules_in(tmp_path_factory.mktemp("modules"), mortal=MORTAL) as folder:
        yield folder


@pytest.fixture(scope="module")
def local(modules: Path) -> Executor:
    return Executor("local", modules)


@pytest.fixture(scope="module")
def on_ray(
    shared_ray: Ray, modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Executor]:
    with executor_on(shared_ray, modules, tmp_path_factory.mktemp("ray") / "ray.log") as made:
        yield made


@pytest.fixture(scope="module", params=["local", pytest.param("on_ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> Executor:
    found: Executor = request.getfixturevalue(request.param)
    return found


def test_a_sweep_in_lanes_is_the_sweep_of_the_same_trials_alone(
    executor: Executor, local: Executor, tmp_path: Path
) -> None:
    """Lanes end early, are pruned and replaced by the next trials; replicates share steps too."""
    found: dict[int, tuple[SweepFolder, Sweep]] = {}
    orders: dict[int, list[tuple[int, int]]] = {}
    for width in (1, 4):
        runner, watcher = (local if width == 1 else executor), Watcher()
        spec = runner.spec(**CHANGES)
        folder = runner.new(tmp_path / str(width), spec)
        found[width] = folder, runner.run(spec, folder, watcher, widths=Widths(width, width)).sweep
        orders[width] = [(e.trial, e.epoch) for e in watcher.epochs]
    check_same(found[4], found[1])
    trials = found[4][1].trials
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert any(t.stopped_epoch and t.stopped_epoch < 8 for t in trials)
    assert {t.role for t in trials} == {Role.BASELINE, Role.SEARCH, Role.REPLICATE}
    assert orders[1] != orders[4]  # several trials ran at once
    assert orders[4][:4] == [(0, 1), (1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize(
    ("place", "end", "reason"),
    [
        pytest.param(
            "on_ray",
            "kill",
            "the trial's process died (killed, or out of memory)",
            marks=pytest.mark.ray,
        ),
        ("local", "exit", "its code ended the process: SystemExit('enough')"),
    ],
)
def test_a_trial_that_ends_its_process_takes_no_other_with_it(
    request: pytest.FixtureRequest,
    local: Executor,
    tmp_path: Path,
    place: str,
    end: str,
    reason: str,
) -> None:
    """Its neighbours go on from their checkpoints, and end as if it had not been there."""
    rates = [0.05, 0.0625, 0.1, 0.2]
    changes: dict[str, Any] = {
        "trainable": "mortal:Mortal",
        "training": {"max_epochs": 6, "batch_size": 32},
        "space": {"lr": {"choice": rates}, "dropout": {"float": [0.0, 0.6]}},
        "search": {
            "baseline": False,
            "pruner": "none",
            "enqueue": [{"lr": lr, "dropout": lr} for lr in rates],
        },
        "budget": {"trials": 4},
    }
    several: Executor = request.getfixturevalue(place)
    found: dict[str, Sweep] = {}
    for way, runner, width in (("none", local, 1), (end, several, 4)):
        model = {"hidden": [4], "end": way}
        spec = runner.spec(**changes, model=model, resources={"retries": 0})
        found[way] = runner.run(
            spec, runner.new(tmp_path / way, spec), widths=Widths(width, width)
        ).sweep
    culprit = found[end].trials[1]
    assert (culprit.state, culprit.params["lr"]) == (TrialState.FAILED, 0.0625)
    assert culprit.reason == reason
    for number in (0, 2, 3):
        mine, wanted = (found[way].trials[number] for way in (end, "none"))
        assert facts(mine) == facts(wanted)
        assert mine.state is TrialState.COMPLETE
