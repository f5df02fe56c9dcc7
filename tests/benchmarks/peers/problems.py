"""The data sets, networks and spaces of the race."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes

from service.spec.file import parse_spec
from service.spec.model import SweepSpec
from tests.benchmarks.peers.space import Space
from trainables.config.data import FASHION_MNIST
from trainables.data.datasets import open_rows
from trainables.data.rows import Rows

METRIC = "val/loss"
TRIALS = "RACE_TRIALS"
"""The environment variable with the trials of a search, for every system's process."""
_MODULE = "tests.benchmarks.peers.problems"


def load_clothes() -> Any:
    """The first 6,000 images of Fashion-MNIST, pixels from 0 to 1."""
    x = _read("train-images-idx3-ubyte.gz", 16)[: 6000 * 28 * 28].reshape(-1, 1, 28, 28)
    y = _read("train-labels-idx1-ubyte.gz", 8)[:6000]
    return _cut((x / np.float32(255)).astype(np.float32), y)


def _read(name: str, header: int) -> Any:
    with gzip.open(FASHION_MNIST / name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header).astype(np.int64)


def load_patients() -> Any:
    """442 patients, 10 features, a regression; the target has mean 0 and deviation 1."""
    x, y = load_diabetes(return_X_y=True)
    return _cut(x.astype(np.float32), ((y - y.mean()) / y.std()).astype(np.float32))


def _cut(x: Any, y: Any) -> Any:
    """60, 20 and 20 % of the samples, in an order of their own."""
    order = np.random.default_rng(0).permutation(len(x))
    parts = np.split(order, [len(x) * 3 // 5, len(x) * 4 // 5])
    names = ("train", "val", "test")
    return {name: (x[part], y[part]) for name, part in zip(names, parts, strict=True)}


@dataclass(frozen=True)
class Problem:
    """A data set with its training. ``targets`` are values of val/loss to be reached."""

    name: str
    data: Any
    trainable: str
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    space: Space
    targets: tuple[float, ...]

    @property
    def trials(self) -> int:
        """How many a search has."""
        return int(os.environ.get(TRIALS, "40"))

    @cached_property
    def spec(self) -> SweepSpec:
        """The sweep as gapsweep runs it."""
        return parse_spec(self.to_spec(0), "race", Path.cwd())

    @cached_property
    def rows(self) -> Rows:
        """Its samples."""
        return open_rows(self.spec.data)

    def to_spec(self, seed: int) -> dict[str, Any]:
        """The sweep as a user of gapsweep writes it; the confirmation is the race's own."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "data": self.data,
            "model": dict(self.model),
            "training": {**self.training, "seed": seed},
            "space": self.space.to_spec(),
            "early_stopping": {"metric": METRIC},
            "search": {"seed": seed},
            "budget": {"trials": self.trials},
            "confirm": "off",
            "resources": {"concurrent": 2},
        }


def _divide(name: str) -> dict[str, Any]:
    return {"name": name, "val": 0.2, "test": 0.2, "seed": 0}


def _call(function: str) -> dict[str, Any]:
    return {"name": f"{_MODULE}:{function}", "redraw": "pooled"}


_MLP, _CNN = "trainables.models:MLP", "trainables.models:CNN"
_LAMBDAS = {"l1": (1e-4, 0.3), "l2": (1e-3, 3.0), "elastic_net": (1e-4, 0.3)}

PROBLEMS: Mapping[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem(
            "digits",
            _divide("digits"),
            _MLP,
            {"hidden": [256, 256]},
            {"max_epochs": 40, "batch_size": 64, "lr": 1e-3, "schedule": "cosine"},
            Space(_LAMBDAS, ("shift", "affine", "noise")),
            targets=(0.11, 0.09),
        ),
        Problem(
            "fashion",
            _call("load_clothes"),
            _CNN,
            {"channels": [8, 16], "hidden": 64},
            {"max_epochs": 20, "batch_size": 64, "lr": 2e-3, "schedule": "cosine"},
            Space(_LAMBDAS, ("shift", "crop_flip", "noise")),
            targets=(0.45, 0.42),
        ),
        Problem(
            "breast_cancer",
            _divide("breast_cancer"),
            _MLP,
            {"hidden": [128, 128]},
            {"max_epochs": 60, "batch_size": 32, "lr": 1e-3, "schedule": "cosine"},
            Space(_LAMBDAS, ("noise", "mask")),
            targets=(0.08, 0.06),
        ),
        Problem(
            "diabetes",
            _call("load_patients"),
            _MLP,
            {"hidden": [64, 64]},
            {"max_epochs": 60, "batch_size": 32, "lr": 1e-3, "schedule": "cosine"},
            Space(_LAMBDAS, ("noise", "mask")),
            targets=(0.55, 0.52),
        ),
    )
}
