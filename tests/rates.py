"""Trainings whose optimiser notes the learning rates of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from tests.trainings import splits
from trainables.build import build_training
from trainables.config.data_info import DataInfo
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.distributed.process import Process
from trainables.loop import EpochResult, TrainingRun, train

SAMPLES, BATCH = 60, 16
STEPS = 4
"""Steps of an epoch."""
Make = Callable[[Any, int], Any]
"""From a trainable's own optimiser and the steps of an epoch, what ``optimizer`` returns."""


class Net(Trainable):
    """Two layers, each a group of SGD with its share of the rate, and what is made of that."""

    shares = (0.01, 1.0)

    def __init__(self, make: Make | None = None) -> None:
        self._make = make
        self.rates: list[tuple[float, ...]] = []

    def build(self, info: DataInfo) -> nn.Module:
        made = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, info.outputs))
        self.net = made
        return made

    def optimizer(self, parameters: Iterable[nn.Parameter], training: Training) -> Any:
        layers = self.net[1], self.net[3]
        made = torch.optim.SGD(
            [
                {"params": layer.parameters(), "lr": share * training.lr}
                for layer, share in zip(layers, self.shares, strict=True)
            ]
        )
        made.register_step_pre_hook(self._note)
        assert self.steps_per_epoch is not None
        return self._make(made, self.steps_per_epoch) if self._make else made

    def _note(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        self.rates.append(tuple(float(group["lr"]) for group in optimizer.param_groups))


class Still(Net):
    """As the other one, with a loss that moves no weight."""

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        return 0.0 * super().step(model, batch)


def begin(trainable: Trainable, training: dict[str, Any] | None = None, **reg: Any) -> TrainingRun:
    """A training before its first step."""
    settings = {"max_epochs": 6, "batch_size": BATCH, "lr": 0.1, **(training or {})}
    return build_training(
        trainable, splits(SAMPLES), Training.model_validate(settings), read_regularisers(reg)
    )


def finish(run: TrainingRun) -> list[EpochResult]:
    """All epochs."""
    return list(train(run))


def note_rates(make: Make | None = None, **training: Any) -> list[tuple[float, ...]]:
    """The rates of both groups in every step of a training."""
    trainable = Net(make)
    finish(begin(trainable, training))
    return trainable.rates


def fall(optimizer: Any, _: int) -> Any:
    """A scheduler on a metric."""
    scheduler = ReduceLROnPlateau(optimizer, patience=0, threshold=0.2)
    return {"optimizer": optimizer, "scheduler": scheduler, "monitor": "val/loss"}


def cycle(optimizer: Any, steps: int) -> Any:
    """A scheduler that is stepped every step."""
    return optimizer, OneCycleLR(optimizer, [0.001, 0.1], total_steps=4 * steps)


MAKES: dict[str, Make | None] = {"spec": None, "fall": fall, "cycle": cycle}

Curve = tuple[list[dict[str, float]], dict[str, Tensor], list[tuple[float, ...]]]


def curve(process: Process, make: str, training: dict[str, Any], reg: dict[str, Any]) -> Curve:
    """Metrics, weights and rates of a training in one process of a group."""
    trainable = Net(MAKES[make])
    settings = {"max_epochs": 4, "batch_size": BATCH, "lr": 0.1, **training}
    run = build_training(
        trainable,
        splits(SAMPLES + 1),
        Training.model_validate(settings),
        read_regularisers(reg),
        process=process,
    )
    epochs = [dict(result.metrics) for result in train(run)]
    return epochs, dict(run.model.state_dict()), trainable.rates
