"""Undocumented parts of torch that this package uses. Checked with torch 2.13."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

__all__ = ["BatchNorm", "compute_adam_steps"]


def compute_adam_steps(optimizer: torch.optim.Adam, weight: Tensor, lr: Tensor) -> Tensor:
    """The step of each entry of a weight per unit of gradient, ``lr/(√v̂ + ε)``.

    Reads ``exp_avg_sq`` and ``step`` of Adam's state, as torch 2.13 names them. Returns 0, 0-dim,
    for a weight that has had no gradient yet.
    """
    group = optimizer.param_groups[0]
    _, beta = group["betas"]
    state: dict[str, Any] = optimizer.state[weight]
    if not state:
        return torch.zeros_like(lr)
    corrected = state["exp_avg_sq"] / (1 - beta ** state["step"])
    steps: Tensor = lr / (corrected.sqrt() + group["eps"])
    return steps
