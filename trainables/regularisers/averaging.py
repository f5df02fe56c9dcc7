"""Averages of the weights over a training, which are evaluated instead of the weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from trainables.config import regularisers as config
from trainables.regularisers.base import Now, Regulariser, Subject

_LOWEST = 0.1
"""The learning rate at the end of a cycle, as a share of that at its start."""
_FEWEST = 2
"""Weights that an average is of, at least."""


def build_averaging(config: config.Averaging) -> Averaging:
    """The average that a point names."""
    return MovingAverage(config.ema) if config.ema else LastEpochsAverage(config.swa)


class Averaging(Regulariser):
    """A second network that holds the average, including buffers."""

    order = 90
    recomputes_norms = True

    def __init__(self) -> None:
        self._count = 0

    def attach(self, subject: Subject) -> None:
        """Copy the network."""
        super().attach(subject)
        self._source = subject.model
        self._model = copy.deepcopy(subject.model).requires_grad_(False)

    def evaluated(self) -> nn.Module | None:
        """The averaged network, as soon as there is one."""
        return self._model if self._count else None

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


class MovingAverage(Averaging):
    """EMA: a moving average after every step.

    Polyak & Juditsky 1992; the decay grows as ``(1 + t)/(10 + t)`` up to its value, so that the
    first weights are forgotten.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self._decay = decay

    def after_step(self, now: Now) -> None:
        """Update the average."""
        self._move(1 - min(self._decay, (1 + self._count) / (10 + self._count)))


class LastEpochsAverage(Averaging):
    """SWA: the mean of the weights after each of the last epochs. Izmailov et al. 2018.

    They are the last ``share`` of the epochs that run. Where early stopping would end the training
    after E epochs, share·E/(1 − share) more follow, and those are averaged; where it does not, the
    last ones of ``max_epochs`` are. Their learning rate is constant or cyclic
    (``training.swa_lr_share``, ``swa_cycle``), as that of a schedule would be near 0; with a cycle
    the weights at its end are averaged.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def attach(self, subject: Subject) -> None:
        """Copy the network, and plan for a training that nothing stops."""
        super().attach(subject)
        self._rate = subject.training.lr * subject.training.swa_lr_share
        self.end_after(subject.training.max_epochs)

    def end_after(self, epochs: int) -> None:
        """Average the share of these epochs at their end."""
        self._last = epochs
        self._cycle = min(self.subject.training.swa_cycle, max(1, epochs // _FEWEST))
        self._first = 1 + max(0, epochs - self._count_averaged(self._share * epochs))

    def count_more_epochs(self, epoch: int) -> int:
        """Begin after this epoch, unless it has begun; run the share of the epochs."""
        if epoch < self._first - 1:
            wanted = self._count_averaged(self._share * epoch / (1 - self._share))
            self._first, self._last = epoch + 1, min(epoch + wanted, self._last)
        return self._last - epoch

    def learning_rate(self, epoch: int, lr: float) -> float:
        """That of SWA, as soon as it has begun."""
        if epoch < self._first:
            return lr
        done = ((epoch - self._first) % self._cycle + 1) / self._cycle
        return self._rate * (1 - done * (1 - _LOWEST) if self._cycle > 1 else 1)

    def after_epoch(self, epoch: int) -> None:
        """Update the mean at the end of a cycle."""
        if epoch >= self._first and (epoch - self._first + 1) % self._cycle == 0:
            self._move(1 / (self._count + 1))

    def acted(self, epoch: int) -> bool:
        """Whether the weights after this epoch are an average of several."""
        return (epoch - self._first + 1) // self._cycle >= _FEWEST

    def state_dict(self) -> dict[str, Any]:
        """The average, and which epochs it is of."""
        return {**super().state_dict(), "first": self._first, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self._first = int(state.get("first", self._first))
        self._last = int(state.get("last", self._last))

    def _count_averaged(self, epochs: float) -> int:
        """Whole cycles of about so many epochs."""
        return max(_FEWEST, round(epochs / self._cycle)) * self._cycle
