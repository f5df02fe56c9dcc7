"""The batch that a training step takes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Inputs ``(B, …)`` and targets ``(B, …)``.

    If samples are mixed, the loss weighs ``y`` by ``share``, 0-dim, and ``other_y`` by the rest.
    ``smoothing`` is the weight of the uniform distribution over the classes.
    """

    x: Tensor
    y: Tensor
    other_y: Tensor | None = None
    share: Tensor | None = None
    smoothing: float = 0.0
