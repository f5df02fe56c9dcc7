"""Small trainings on every kind of inputs, with test samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from service.spec.model import SweepSpec
from tests.specs import parse
from trainables.build import build_run
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


def read_spec(data: str, network: str = "Flat", **data_options: Any) -> SweepSpec:
    """A sweep of a network, of this module or another, on data of this module."""
    return parse(
        data={"name": f"{__name__}:{data}", "allow_overlap": True, **data_options},
        trainable=network if ":" in network else f"{__name__}:{network}",
        training={"max_epochs": 12, "batch_size": 20, "lr": 0.05},
        space={"penalty": {"choice": ["none"]}},
        confirm="off",
    )


def build(data: str, network: str = "Flat", **data_options: Any) -> tuple[TrainingRun, Splits]:
    """A finished training, and its data."""
    spec = read_spec(data, network, **data_options)
    splits = load(spec.data)
    run = build_run(spec, {"penalty": "none"}, splits, baseline=False, device="cpu")
    for _ in train(run):
        pass
    return run, splits
