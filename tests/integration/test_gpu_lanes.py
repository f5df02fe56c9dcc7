"""Trials that share their steps on a GPU: each has the bits that it has there alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from tests.commands import gapsweep_process
from tests.lanes import Bench, Make, check_each, list_cases, name
from trainables.lanes import replays
from trainables.lanes.examination import examine_fusion
from trainables.lanes.widths import find_width
from trainables.loading import ModuleTrainable
from trainables.loop import TrainingRun, train
from trainables.models import CNN, MLP

pytestmark = pytest.mark.gpu
CASES = [case for case in list_cases() if "stochastic_depth" not in case]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench((3, 8, 8), 200, device="cuda")


@pytest.fixture(autouse=True)
def repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have convolutions the same bits each time."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each run of a CUDA graph, how many lanes it had."""
    widths: list[int] = []
    run = replays._Replay.run

    def count(self: Any, inputs: Any) -> list[Tensor | None]:
        widths.append(len(inputs[0]))
        return run(self, inputs)

    monkeypatch.setattr(replays._Replay, "run", count)
    return widths


def in_fours(makes: list[Make]) -> Iterator[list[Make]]:
    for start in range(0, len(makes) - 3, 4):
        yield makes[start : start + 4]


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_every_regulariser_has_the_bits_of_a_training_alone(
    bench: Bench, kind: str, replayed: list[int]
) -> None:
    network = MLP([16]) if kind == "mlp" else CNN([8], 16)
    makes: list[Make] = [partial(bench.make, network, **case) for case in CASES]
    for four in in_fours([*makes, *makes[: -len(makes) % 4]]):
        check_each(*four)
    assert set(replayed) == {4}


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize("width", [4, 7, 32])
def test_lanes_of_any_number_have_the_bits_of_each_alone(
    bench: Bench, width: int, precision: str
) -> None:
    def make(number: int) -> TrainingRun:
        rates = {"lr": 0.01 * (1 + number % 3), "seed": number, "precision": precision}
        l1 = {"penalty": "l1", "lambda": 0.01 * number, "dropout": 0.01 * number}
        return bench.make(MLP([32, 32]), rates, **l1)

    check_each(*(partial(make, number) for number in range(width)))


@pytest.mark.parametrize("case", [{"max_norm": 0.4}, {"penalty": "l1", "lambda": 0.01}], ids=name)
def test_lanes_of_different_ages_are_updated_as_each_alone(
    bench: Bench, case: dict[str, Any]
) -> None:
    """Adam's numbers of steps, and the bounds of max-norm, are on the CPU."""

    def make(number: int) -> TrainingRun:
        training = {"seed": number, "optimizer": {"name": "adam"}}
        run = bench.make(MLP([32]), training, **case)
        if number > 1:
            next(train(run))
        return run

    check_each(*(partial(make, number) for number in range(4)))


class Noisy(nn.Module):
    """Draws noise of its own."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch."""
        noise = torch.randn(len(x), 1, 1, 1, device=x.device) if self.training else 0.0
        logits: Tensor = self.layers(x + 0.1 * noise)
        return logits


class Normed(nn.Sequential):
    """Has a batch norm, which on a GPU is cuDNN's."""

    def __init__(self, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, outputs)
        )


def test_noise_of_a_networks_own_has_the_bits_of_a_training_alone(
    bench: Bench, replayed: list[int]
) -> None:
    def make(number: int) -> TrainingRun:
        network, l2 = ModuleTrainable(Noisy, {}), {"penalty": "l2", "lambda": 0.01}
        return bench.make(network, {"seed": number}, **l2)

    check_each(*(partial(make, number) for number in range(4)))
    assert replayed


def test_what_has_no_equal_results_on_a_gpu_is_named(bench: Bench) -> None:
    assert "batch_norm" in examine_fusion(bench.make(ModuleTrainable(Normed, {}))).reason


def test_an_examination_and_a_measurement_use_the_gpu(bench: Bench) -> None:
    def make(number: int) -> TrainingRun:
        return bench.make(MLP([32, 32]), {"seed": number}, dropout=0.1)

    assert not examine_fusion(make(0)).reason
    advice = find_width(make, most=16, free=2**30)
    assert advice.width > 1, advice.describe()
    assert all(0 < one.memory < 2**28 for one in advice.measured)


def test_a_sweep_on_a_gpu_in_lanes_is_the_sweep_of_the_same_trials_alone(tmp_path: Path) -> None:
    found = {}
    for fuse in ("off", 8, "auto"):
        folder = tmp_path / str(fuse)
        folder.mkdir()
        spec = {
            "name": "lanes",
            "trainable": "trainables.models:MLP",
            "data": {"name": "digits"},
            "training": {"max_epochs": 6, "batch_size": 64},
            "early_stopping": {"patience": 2},
            "space": {
                "penalty": {"choice": ["l1", "l2"]},
                "lambda": {"float": [1e-5, 1e-2], "log": True},
                "dropout": {"float": [0.0, 0.5]},
            },
            "search": {"sampler": "random", "pruner": "none"},
            "budget": {"trials": 24},
            "confirm": "off",
            "resources": {"gpus": 1, "concurrent": 1, "fuse": fuse},
        }
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
        home = folder / "home"
        done = gapsweep_process("run", str(folder / "spec.yaml"), "--home", str(home))
        assert done.returncode == 0, done.stderr
        (history,) = home.glob("sweeps/*/history.jsonl")
        lines = map(json.loads, history.read_text(encoding="utf-8").splitlines())
        found[fuse] = {(e["trial"], e["epoch"]): e["metrics"] for e in lines}
    assert found["off"] == found[8] == found["auto"]
    assert len(found["off"]) > 25 * 2
