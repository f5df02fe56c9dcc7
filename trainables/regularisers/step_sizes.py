"""The step of an optimiser per unit of gradient, which is the metric of a proximal operator.

A penalty acts on the objective where its threshold is the step that the optimiser takes for the
same gradient. Yun et al. 2021, Adaptive Proximal Gradient Methods (ProxGen); Melchior et al. 2019,
Proximal Adam.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainables.compat import compute_adam_curvature
from trainables.regularisers.base import Subject

_FASTEST = 2.0


class WeightSteps:
    """The steps of a training's optimiser; the learning rate where its metric is not known."""

    def __init__(self, subject: Subject) -> None:
        groups = subject.optimizer.param_groups
        self._groups = {id(p): group for group in groups for p in group["params"]}
        self._optimizer = subject.optimizer
        self._adaptive = subject.training.proximal_step == "adaptive"

    def threshold(self, weight: Tensor, strength: Tensor, lr: Tensor) -> Tensor:
        """The step of a threshold of this strength, of the weight's shape or 0-dim.

        With Adam the threshold is at most twice the learning rate, by about which a weight moves
        at most: an entry without gradient so far (an input that is always 0, a unit that was
        inactive) shrinks steadily, and not at once.
        """
        group = self._groups[id(weight)]
        if self._adaptive and isinstance(self._optimizer, torch.optim.Adam):
            curvature = compute_adam_curvature(self._optimizer, group, weight)
            return lr / torch.maximum(curvature, strength / _FASTEST)
        return self.decay(weight, lr) if self._adaptive else lr

    def decay(self, weight: Tensor, lr: Tensor) -> Tensor:
        """The step of a decay beside the gradient, 0-dim."""
        if isinstance(self._optimizer, torch.optim.SGD):
            return lr * _accumulate(self._groups[id(weight)])
        return lr


def _accumulate(group: Mapping[str, Any]) -> float:
    """What momentum makes of a constant gradient in the steady state: (1 − τ)/(1 − μ)."""
    momentum: float = group["momentum"]
    return (1 - group["dampening"]) / (1 - momentum) if momentum else 1.0
