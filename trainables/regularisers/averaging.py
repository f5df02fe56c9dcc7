"""Averages of the weights over a training, evaluated and kept as weights of their own."""

from __future__ import annotations

import copy

import torch
from torch import nn

from trainables.config.training import Regularisation


class WeightAverage:
    """A second network that holds the average, buffers (a norm's statistics) included.

    EMA after every step (Polyak & Juditsky 1992; the decay starts small and grows as
    ``(1 + t)/(10 + t)``, so that the first weights are forgotten), or SWA: the plain mean over
    the last epochs (Izmailov et al. 2018).
    """

    def __init__(self, model: nn.Module, regularisation: Regularisation, max_epochs: int) -> None:
        self._source = model
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._decay = regularisation.ema
        self._first_epoch = 1 + max_epochs - max(1, round(regularisation.swa * max_epochs))
        self._count = 0

    @property
    def started(self) -> bool:
        """Whether there is an average yet."""
        return self._count > 0

    def after_step(self) -> None:
        """Let the moving average follow."""
        if self._decay:
            self._move(1 - min(self._decay, (1 + self._count) / (10 + self._count)))

    def after_epoch(self, epoch: int) -> None:
        """Take an epoch's last weights into the plain mean, if it is one of the last epochs."""
        if not self._decay and epoch >= self._first_epoch:
            self._move(1 / (self._count + 1))

    def state_dict(self) -> dict[str, object]:
        """Everything that :meth:`load_state_dict` needs to go on."""
        return {"model": self.model.state_dict(), "count": self._count}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from a state."""
        model, count = state["model"], state["count"]
        assert isinstance(model, dict)
        assert isinstance(count, int)
        self.model.load_state_dict(model)
        self._count = count

    @torch.no_grad()
    def _move(self, weight: float) -> None:
        averaged, source = self.model.state_dict(), self._source.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point() and self._count:
                value.lerp_(source[name], weight)
            else:
                value.copy_(source[name])
        self._count += 1


def weight_average(
    model: nn.Module, regularisation: Regularisation, max_epochs: int
) -> WeightAverage | None:
    """The average that is asked for, None where none is."""
    if not (regularisation.ema or regularisation.swa):
        return None
    return WeightAverage(model, regularisation, max_epochs)
