"""Trainings of a second, and the data that they are on."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch

from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.stopping import Patience
from trainables.config.training import Training
from trainables.data.splits import Split, Splits
from trainables.loop import TrainingRun, train
from trainables.models import CNN, MLP

EACH: list[dict[str, Any]] = [
    {"penalty": "l1", "lambda": 0.02},
    {"penalty": "l2", "lambda": 0.5},
    {"penalty": "elastic_net", "lambda": 0.05},
    {"penalty": "group_lasso", "lambda": 0.02},
    {"penalty": "l1", "lambda": 0.05, "training": {"lambda_schedule": "warmup"}},
    {"penalty": "l1", "lambda": 0.05, "training": {"lambda_schedule": "cosine"}},
    {"penalty": "l1", "lambda": 0.05, "training": {"proximal_step": "adaptive"}},
    {"max_norm": 0.3},
    {"dropout": 0.4},
    {"augmentation": "shift"},
    {"random_erasing": 0.5},
    {"input_noise": 0.3},
    {"mixup": 0.5},
    {"cutmix": 0.5},
    {"label_smoothing": 0.2},
    {"gradient_noise": 0.1},
    {"ema": 0.8},
    {"swa": 0.5},
]
"""Regularisers that each change what is learned, one of every kind."""


def name(options: dict[str, Any]) -> str:
    """The values of options, to name a test."""
    return ",".join(str(v) for v in options.values())


def splits(train_size: int = 60, val_size: int = 30) -> Splits:
    """Images of 4 × 4 pixels: is their mean above a half?"""
    rng = np.random.default_rng(0)
    x = rng.random((train_size + val_size, 1, 4, 4), dtype=np.float32)
    y = (x.mean((1, 2, 3)) > 0.5).astype(np.int64)
    y[:2] = 0, 1
    info = DataInfo((1, 4, 4), Task.CLASSIFICATION, 2, Kind.IMAGE)
    train, val = Split(x[:train_size], y[:train_size]), Split(x[train_size:], y[train_size:])
    return Splits(train, val, None, info)


def run(
    patience: int | None = 2, training: dict[str, Any] | None = None, **reg: Any
) -> TrainingRun:
    """A training before its first step; ``reg`` are its regularisers."""
    settings = Training(**{"max_epochs": 6, "batch_size": 16, "lr": 0.05, **(training or {})})
    stop = None if patience is None else Patience(patience=patience)
    return build_training(MLP([16]), splits(), settings, read_regularisers(reg), stop)


def hand_over(first: TrainingRun, second: TrainingRun, epochs: int) -> None:
    """Train the first for so many epochs, and give its state to the second, as a file does."""
    steps = train(first)
    for _ in range(epochs):
        next(steps)
    give_state(first, second)


def give_state(first: TrainingRun, second: TrainingRun) -> None:
    """Give the state of the first to the second, as a file does."""
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second.load_state_dict(torch.load(buffer, weights_only=True))


def same_state(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two states have the same values to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def curve(training: dict[str, Any], regularisation: dict[str, Any]) -> list[dict[str, float]]:
    """Every epoch's metrics of a small CNN's training."""
    settings = Training(**{"max_epochs": 3, "batch_size": 16, "lr": 0.02, **training})
    reg = read_regularisers(regularisation)
    run = build_training(CNN([4], 8), splits(60, 30), settings, reg, None)
    return [dict(result.metrics) for result in train(run)]
