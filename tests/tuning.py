"""Fine-tuning as people write it: a lower rate for the body, a schedule from ``optimizer.step``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from gapsweep import Trainable
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from trainables.config.data_info import DataInfo
from trainables.config.training import Training


class Discriminative(Trainable):
    """A hundredth of the rate for the body."""

    def build(self, info: DataInfo) -> nn.Module:
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Dropout())
        self.head = nn.Linear(8, info.outputs)
        return nn.Sequential(self.body, self.head)

    def optimizer(self, parameters: Iterable[nn.Parameter], training: Training) -> Any:
        return torch.optim.AdamW(
            [
                {"params": self.body.parameters(), "lr": training.lr / 100},
                {"params": self.head.parameters(), "lr": training.lr},
            ],
            weight_decay=0.0,
        )


class Wrapped(Discriminative):
    """Clips and steps a scheduler within ``optimizer.step``."""

    def optimizer(self, parameters: Iterable[nn.Parameter], training: Training) -> Any:
        weights = list(parameters)
        made = torch.optim.SGD(weights, lr=training.lr, momentum=0.9)
        self.schedule = OneCycleLR(made, training.lr, total_steps=100)
        inner = made.step

        def step(*arguments: Any, **options: Any) -> Any:
            nn.utils.clip_grad_norm_(weights, 1.0)
            found = inner(*arguments, **options)
            self.schedule.step()
            return found

        made.step = step  # type: ignore[method-assign]  # as people do
        return made
