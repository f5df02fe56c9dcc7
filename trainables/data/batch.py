"""The batch that a training step takes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """The samples of one training step.

    Attributes:
        x: inputs ``(B, …)``.
        y: targets ``(B, …)``.
        other_y: where samples are mixed, the targets ``(B, …)`` of the samples mixed in.
        share: where samples are mixed, the weight of ``y``, 0-dim; ``other_y`` has the rest.
        smoothing: weight of the uniform distribution over the classes, mixed into the targets.
    """

    x: Tensor
    y: Tensor
    other_y: Tensor | None = None
    share: Tensor | None = None
    smoothing: float = 0.0

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.y)
