"""Sweeps whose trials share their steps are the same sweeps, on either executor."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from service.cluster.connection import Cluster
from service.study.records import Role, TrialState
from service.sweep.home import SweepFolder
from service.sweep.sweep_record import Sweep
from tests.contract.sweeps import Executor, Watcher, facts
from tests.rays import Ray

CHANGES: dict[str, Any] = {
    "training": {"max_epochs": 8, "lr": 0.02},
    "early_stopping": {"patience": 2, "min_delta": 0.05},
    "search": {"sampler": "random", "pruner": {"name": "threshold", "upper": 0.3}},
    "budget": {"trials": 10},
    "confirm": {"top_k": 1, "trainings": 10},
}
"""What a sweep can have, with nothing that depends on which trials ended before."""


@pytest.fixture(scope="module", autouse=True)
def no_mlflow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAPSWEEP_MLFLOW_URI", "off")
        yield


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("modules")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def local(modules: Path) -> Executor:
    return Executor("local", modules)


@pytest.fixture(scope="module")
def on_ray(
    shared_ray: Ray, modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Executor]:
    cluster = Cluster(shared_ray.address)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shared_ray.env.items():
            patch.setenv(name, value)
        with cluster.connect(tmp_path_factory.mktemp("ray") / "ray.log"):
            yield Executor("ray", modules, cluster)


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
        found[width] = folder, runner.run(spec, folder, watcher, width=width).sweep
        orders[width] = [(e.trial, e.epoch) for e in watcher.epochs]
    check_same(found[4], found[1])
    trials = found[4][1].trials
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert any(t.stopped_epoch and t.stopped_epoch < 8 for t in trials)
    assert {t.role for t in trials} == {Role.BASELINE, Role.SEARCH, Role.REPLICATE}
    assert orders[1] != orders[4]  # several trials ran at once
    assert orders[4][:4] == [(0, 1), (1, 1), (2, 1), (3, 1)]
