"""A batch as a training step takes it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Inputs ``(B, …)`` and targets ``(B, …)``.

    Where samples are mixed, ``y`` holds for ``share`` of each and ``other_y`` for the rest; the
    share is 0-dim. ``smoothing`` is the weight of the uniform distribution over the classes.
    """

    x: Tensor
    y: Tensor
    other_y: Tensor | None = None
    share: Tensor | None = None
    smoothing: float = 0.0
