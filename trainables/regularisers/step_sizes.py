"""The step of an optimiser per unit of gradient, which is the metric of a proximal operator.

A penalty acts on the objective where its threshold is the step that the optimiser takes for the
same gradient. Yun et al. 2021, Adaptive Proximal Gradient Methods (ProxGen); Melchior et al. 2019,
Proximal Adam.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from trainables.compat import find_curvature, is_sgd
from trainables.regularisers.base import Now, Subject

_FASTEST = 2.0
_NEXT_TO_NONE = 0.01
"""Of the mean over a weight's entries."""


def knows_step(optimizer: torch.optim.Optimizer) -> bool:
    """Whether thresholds can have the step of this optimiser; others have its learning rate."""
    return is_sgd(optimizer) or find_curvature(optimizer) is not None


class WeightSteps:
    """The steps of a training's optimiser; the learning rate where its metric is not known."""

    def __init__(self, subject: Subject) -> None:
        optimizer = subject.optimizer
        self._optimizer = optimizer
        groups = enumerate(optimizer.param_groups)
        self._numbers = {id(p): n for n, group in groups for p in group["params"]}
        self._is_sgd = is_sgd(optimizer)
        self._adaptive = subject.training.proximal_step == "adaptive"
        self._curvature = find_curvature(optimizer) if self._adaptive else None

    def threshold(self, weight: Tensor, strength: Tensor, now: Now) -> Tensor:
        """The step of a threshold, of the weight's shape or 0-dim.

        ``strength`` is the size of the penalty's gradient, of the weight's shape or 0-dim. Adam and
        its kind move a weight by about the learning rate, however small its gradient. An entry with
        next to none (an input that is always 0, a unit that was inactive so far) would have an
        endless threshold; it has one of twice the learning rate, and shrinks steadily.
        """
        if self._curvature is None:
            return self.decay(weight, now)
        state, group = self._optimizer.state[weight], self._find_group(weight)
        if not state:  # it has had no gradient, so that the optimiser has not moved it either
            return torch.zeros_like(now.lr)
        rate = self._find_rate(weight, now)
        curvature = self._curvature(state, group)
        steady = strength * (now.gradient_scale / _FASTEST)
        least = torch.minimum(steady, _NEXT_TO_NONE * self._average(curvature))
        scale = rate * now.gradient_scale * _accumulate(group)
        torch.maximum(curvature, least, out=curvature)
        return torch.div(scale, curvature, out=curvature)

    def decay(self, weight: Tensor, now: Now) -> Tensor:
        """The step of a decay beside the gradient, 0-dim."""
        rate = self._find_rate(weight, now)
        if self._is_sgd and self._adaptive:
            return rate * now.gradient_scale * _accumulate(self._find_group(weight))
        return rate

    def describe(self) -> Hashable:
        """What they depend on, other than learning rates and what the optimiser keeps."""
        unlike = ("lr", "initial_lr", "params")
        groups = [
            {key: value for key, value in group.items() if key not in unlike}
            for group in self._optimizer.param_groups
        ]
        return type(self._optimizer), repr(groups), self._adaptive

    def _average(self, curvature: Tensor) -> Tensor:
        """Its mean over the entries of a weight, 0-dim."""
        return curvature.mean()

    def _find_group(self, weight: Tensor) -> Mapping[str, Any]:
        """The weight's group of now: an optimizer that loads a state has new ones."""
        group: Mapping[str, Any] = self._optimizer.param_groups[self._numbers[id(weight)]]
        return group

    def _find_rate(self, weight: Tensor, now: Now) -> Tensor:
        """The learning rate of the weight's group in this step."""
        return now.rates[self._numbers[id(weight)]] if now.rates else now.lr


class RowSteps(WeightSteps):
    """Those of many trainings, whose weights are rows ``(L, n)``."""

    def _average(self, curvature: Tensor) -> Tensor:
        """The mean of each row ``(L, 1)``, with the bits that it has alone."""
        if torch.get_num_threads() == 1:
            return curvature.mean(1, keepdim=True)
        return torch.stack([row.mean() for row in curvature]).unsqueeze(1)


def _accumulate(group: Mapping[str, Any]) -> float:
    """What momentum makes of a constant gradient in the steady state: (1 − τ)/(1 − μ)."""
    momentum: float = group.get("momentum", 0.0)
    return (1 - group.get("dampening", 0.0)) / (1 - momentum) if momentum else 1.0
