"""Averages of the weights over a training, which are evaluated instead of the weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trainables.config import regularisers as config
from trainables.regularisers.base import Now, Regulariser, Subject


class Averaging(Regulariser):
    """A second network that holds the average, including buffers such as batch-norm statistics.

    EMA: a moving average after every step (Polyak & Juditsky 1992; the decay grows as
    ``(1 + t)/(10 + t)`` up to its value, so that the first weights are forgotten). SWA: the mean
    over the last epochs (Izmailov et al. 2018).
    """

    order = 90

    def __init__(self, config: config.Averaging) -> None:
        self._decay, self._share = config.ema, config.swa
        self._count = 0

    def attach(self, subject: Subject) -> None:
        """Copy the network."""
        super().attach(subject)
        epochs = subject.training.max_epochs
        self._source = subject.model
        self._model = copy.deepcopy(subject.model).requires_grad_(False)
        self._first_epoch = 1 + epochs - max(1, round(self._share * epochs))

    def evaluated(self) -> nn.Module | None:
        """The averaged network, as soon as there is one."""
        return self._model if self._count else None

    def after_step(self, now: Now) -> None:
        """Update the moving average."""
        if self._decay:
            self._move(1 - min(self._decay, (1 + self._count) / (10 + self._count)))

    def after_epoch(self, epoch: int) -> None:
        """Update the mean over epochs, in the last epochs."""
        if not self._decay and epoch >= self._first_epoch:
            self._move(1 / (self._count + 1))

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of updates."""
        return {"model": self._model.state_dict(), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        self._model.load_state_dict(state["model"])
        self._count = int(state["count"])

    @torch.no_grad()
    def _move(self, weight: float) -> None:
        averaged, source = self._model.state_dict(), self._source.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point() and self._count:
                value.lerp_(source[name], weight)
            else:
                value.copy_(source[name])
        self._count += 1
