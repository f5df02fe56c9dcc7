"""Sweeps whose trials share their steps are the same sweeps, on either executor."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from service.spec.file import dump_spec
from service.study.records import Role, TrialState
from service.study.slot_flow import Widths
from service.sweep.home import Home, SweepFolder
from service.sweep.sweep_record import Sweep
from tests.commands import REPOSITORY
from tests.contract.sweeps import Executor, Watcher, executor_on, facts, modules_in
from tests.rays import Ray

pytestmark = pytest.mark.usefixtures("bare_sweeps")
CHANGES: dict[str, Any] = {
    "training": {"max_epochs": 8, "lr": 0.05},
    "early_stopping": {"patience": 1, "min_delta": 0.05},
    "search": {"sampler": "random", "pruner": {"name": "threshold", "upper": 0.15}},
    "budget": {"trials": 10},
    "confirm": {"top_k": 1, "trainings": 10},
}
"""What a sweep can have, with nothing that depends on which trials ended before."""
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
KILLED = """
import os
import signal
import sys
from pathlib import Path

import gapsweep
from service.cluster import checkpoint

checkpoint.PERIOD = checkpoint.SHARE = 0
seen = []


def count(event):
    seen.append(event)
    if len(seen) == 40:
        os.kill(os.getpid(), signal.SIGKILL)


gapsweep.run(Path(sys.argv[1]), home=sys.argv[2], progress=False, on_event=count)
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


def read_weights(folder: SweepFolder, sweep: Sweep) -> Mapping[int, Mapping[str, torch.Tensor]]:
    """The weights that are kept, by trial."""
    kept = [t.number for t in sweep.trials if folder.best_weights(t.number).exists()]
    assert kept
    return {n: torch.load(folder.best_weights(n), weights_only=True) for n in kept}


def check_same(one: tuple[SweepFolder, Sweep], other: tuple[SweepFolder, Sweep]) -> None:
    """Both sweeps have the same trials, to the last bit of their epochs and weights."""
    for mine, wanted in zip(one[1].trials, other[1].trials, strict=True):
        assert facts(mine) == facts(wanted)
    mine_kept, wanted_kept = read_weights(*one), read_weights(*other)
    assert mine_kept.keys() == wanted_kept.keys()
    for number, weights in mine_kept.items():
        assert weights.keys() == wanted_kept[number].keys()
        assert all(torch.equal(weights[k], wanted_kept[number][k]) for k in weights), number


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


def test_a_sweep_that_was_killed_goes_on_with_another_width_as_if_it_had_not(
    local: Executor, tmp_path: Path
) -> None:
    """SIGKILL ends the driver, which is the process of all its trials."""
    spec = local.spec(**{**CHANGES, "confirm": "off", "resources": {"fuse": 4}})
    script, file, home = tmp_path / "script.py", tmp_path / "spec.yaml", tmp_path / "1"
    script.write_text(KILLED)
    file.write_text(dump_spec(spec))
    words = [sys.executable, str(script), str(file), str(home)]
    ended = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    shutil.copytree(home, tmp_path / "3")
    whole = local.new(tmp_path / "whole", spec)
    expected = whole, local.run(spec, whole).sweep
    for width in (1, 3):
        folder = Home(tmp_path / str(width)).find("latest")
        sweep = local.run(spec, folder, widths=Widths(width, width), accept_changes=True).sweep
        check_same((folder, sweep), expected)
        lines = map(json.loads, folder.history.read_text().splitlines())
        recorded = Counter((line["trial"], line["epoch"]) for line in lines)
        assert sum(recorded.values()) <= len(recorded) + 1  # one was being written
