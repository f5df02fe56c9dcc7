"""Scores on corrupted test samples, of every kind of data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from tests.specs import parse
from trainables.analysis.held_out import measure_held_out
from trainables.analysis.robustness import MISSING, NOISE, SECONDS, measure_robustness
from trainables.build import build_run
from trainables.config.robustness import Curve, Robustness
from trainables.data.datasets import load
from trainables.data.splits import Splits
from trainables.loop import TrainingRun, train

SIZES = {"train": 200, "val": 60, "test": 120}


def divide(x: Any, y: Any) -> dict[str, Any]:
    """The three parts of nests of arrays."""
    ends = dict(zip(SIZES, itertools.accumulate(SIZES.values()), strict=True))

    def take(value: Any, part: slice) -> Any:
        if isinstance(value, dict):
            return {k: take(v, part) for k, v in value.items()}
        return value.iloc[part] if isinstance(value, pd.DataFrame) else value[part]

    return {
        name: (take(x, slice(ends[name] - size, ends[name])), y[ends[name] - size : ends[name]])
        for name, size in SIZES.items()
    }


RNG = np.random.default_rng(0)
N = sum(SIZES.values())
ROWS = RNG.normal(size=(N, 4)).astype(np.float32)
CLASSES = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(np.int64)


def rows() -> Any:
    return divide(ROWS, CLASSES)


def frame() -> Any:
    table = pd.DataFrame(ROWS, columns=list("abcd"))
    return divide(table.assign(word=np.where(CLASSES, "yes", "no")), CLASSES)


def numbers() -> Any:
    return divide(ROWS, ROWS[:, :2] + 0.1)


def labels() -> Any:
    return divide(ROWS, (ROWS[:, :3] > 0).astype(np.float32))


def images() -> Any:
    x = RNG.normal(size=(N, 1, 8, 8)).astype(np.float32) / 4
    x[:, 0, 2:4, 2:4] += CLASSES[:, None, None]
    return divide(x, CLASSES)


def pixels() -> Any:
    parts = images()
    return {
        n: ((255 * (x - x.min()) / np.ptp(x)).astype(np.uint8), y) for n, (x, y) in parts.items()
    }


def series() -> Any:
    return divide(np.repeat(ROWS[:, None], 5, 1) + 0.1 * RNG.normal(size=(N, 5, 4)), CLASSES)


def ids() -> Any:
    return divide((ROWS > 0).astype(np.int64), CLASSES)


def parts() -> Any:
    x = images()
    return {
        n: ({"image": v[0], "row": rows()[n][0], "ids": ids()[n][0]}, v[1]) for n, v in x.items()
    }


def lazy() -> Any:
    return {n: TensorDataset(*map(torch.tensor, pair)) for n, pair in rows().items()}


class Stream(IterableDataset[Any]):
    def __init__(self, rows: Dataset[Any], size: int) -> None:
        self.rows, self.size = rows, size

    def __iter__(self) -> Iterator[Any]:
        return (self.rows[i] for i in range(self.size))


def stream() -> Any:
    return {n: Stream(made, SIZES[n]) for n, made in lazy().items()}


class Flat(nn.Module):
    """A linear network over all floats."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.LazyLinear(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(x.float().flatten(1)))


class Named(Flat):
    def forward(self, image: Tensor, row: Tensor, ids: Tensor) -> Tensor:
        return super().forward(torch.cat([image.flatten(1), row, ids], 1))


class Fails(Flat):
    """A network that refuses what is far away."""

    def forward(self, x: Tensor) -> Tensor:
        if float(x.abs().max()) > 4.5:
            raise ValueError("too far")
        return super().forward(x)


def build(data: str, network: str = "Flat", **data_options: Any) -> tuple[TrainingRun, Splits]:
    spec = parse(
        data={"name": f"{__name__}:{data}", "allow_overlap": True, **data_options},
        trainable=network if ":" in network else f"{__name__}:{network}",
        training={"max_epochs": 12, "batch_size": 20, "lr": 0.05},
        space={"penalty": {"choice": ["none"]}},
        confirm="off",
    )
    splits = load(spec.data)
    run = build_run(spec, {"penalty": "none"}, splits, baseline=False, device="cpu")
    for _ in train(run):
        pass
    return run, splits


def measure(data: str, network: str = "Flat", **data_options: Any) -> Robustness:
    run, splits = build(data, network, **data_options)
    return measure_robustness(run, splits, run.best_state)


def named(found: Robustness) -> dict[str, Curve]:
    return {curve.corruption: curve for curve in found.curves}


@pytest.mark.parametrize(
    ("data", "network", "options", "kinds"),
    [
        ("rows", "Flat", {}, {"noise", "missing values"}),
        ("frame", "Flat", {}, {"noise", "missing values"}),
        ("numbers", "Flat", {"task": "regression"}, {"noise", "missing values"}),
        ("labels", "Flat", {"task": "multilabel"}, {"noise", "missing values"}),
        ("images", "Flat", {}, {"noise", "blur", "shift"}),
        ("pixels", "Flat", {}, {"noise", "blur", "shift"}),
        ("series", "Flat", {}, {"noise"}),
        ("parts", "Named", {}, {"noise", "blur", "shift", "missing values"}),
        ("lazy", "Flat", {}, {"noise", "missing values"}),
        ("stream", "Flat", {}, {"noise", "missing values"}),
    ],
)
def test_each_kind_of_inputs_has_its_corruptions(
    data: str, network: str, options: dict[str, Any], kinds: set[str]
) -> None:
    found = measure(data, network, **options)
    assert (found.rows, found.reason) == (SIZES["test"], "")
    assert set(named(found)) == kinds
    is_class = data not in ("numbers", "labels")
    metric = "mae" if data == "numbers" else "accuracy"
    wanted = {"loss", metric} | ({"ece"} if is_class else set())
    for curve in found.curves:
        assert curve.levels[0].level == 0
        assert curve.levels[0].scores == found.clean
        assert {frozenset(level.scores) for level in curve.levels} == {frozenset(wanted)}
    noise = [level.scores["loss"] for level in named(found)["noise"].levels]
    assert len(noise) == 1 + len(NOISE)
    assert noise[0] < noise[-1]


def test_the_clean_scores_are_those_of_the_test_samples() -> None:
    run, splits = build("frame")
    found = measure_robustness(run, splits, run.best_state)
    metrics = measure_held_out(run, splits, run.best_state).metrics
    assert found.clean["loss"] == pytest.approx(metrics["test/loss"], rel=1e-5)
    assert found.clean["accuracy"] == pytest.approx(metrics["test/accuracy"])
    assert found == measure_robustness(run, splits, run.best_state)


def test_missing_values_hurt_more_the_more_are_missing() -> None:
    losses = [level.scores["loss"] for level in named(measure("rows"))["missing values"].levels]
    assert len(losses) == 1 + len(MISSING)
    assert losses == sorted(losses)


def test_the_weights_that_are_measured_are_the_given_ones() -> None:
    run, splits = build("rows")
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    zeros = {k: torch.zeros_like(v) for k, v in before.items()}
    found = measure_robustness(run, splits, zeros)
    assert found.clean["loss"] == pytest.approx(np.log(2), rel=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in run.model.state_dict().items())


def test_ids_have_no_noise_and_say_so() -> None:
    found = measure("ids")
    assert not found.curves
    assert found.clean["loss"] > 0
    assert found.reason == "the inputs have no floats to be corrupted"


def test_an_error_of_the_network_is_the_reason_and_no_error() -> None:
    found = measure("rows", "Fails")
    assert "ValueError: too far" in found.reason


def test_a_measurement_that_takes_too_long_ends_with_the_low_levels_of_every_kind() -> None:
    run, splits = build("rows")
    ticks = iter([0.0, 1.0, 1.0, SECONDS + 1])
    found = measure_robustness(run, splits, run.best_state, clock=lambda: next(ticks))
    assert [len(curve.levels) for curve in found.curves] == [2, 2]
    assert "took more than 30 s" in found.reason


def test_at_most_a_thousand_test_samples_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.analysis.robustness.ROWS", 50)
    assert measure("rows").rows == 50
    assert measure("lazy").rows == 50
