"""The batch that a training step takes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.data.nests import Nest, count_samples

LABELS = "labels"
"""The key of targets among named inputs."""


@dataclass(frozen=True)
class Batch:
    """The samples of one training step.

    Attributes:
        x: inputs, a nest of tensors ``(B, …)``, most often one.
        y: targets, a nest of tensors ``(B, …)``, most often one.
        other_y: where samples are mixed, the targets of the samples mixed in.
        share: where samples are mixed, the weight of ``y``, 0-dim; ``other_y`` has the rest.
        smoothing: weight of the uniform distribution over the classes, mixed into the targets.
    """

    x: Nest
    y: Nest
    other_y: Nest = None
    share: Tensor | None = None
    smoothing: float = 0.0

    def __len__(self) -> int:
        """The number of samples."""
        return count_samples(self.y)
