"""Draws the samples of an epoch so that every class comes equally often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Balance:
    """The positions of samples in the order of their classes, and where each class lies in it."""

    positions: Tensor
    starts: Tensor
    counts: Tensor

    @classmethod
    def of(cls, classes: NDArray[Any]) -> Self:
        """``classes`` has the class of every sample, ``(N,)``, of any type that can be compared."""
        _, number, counts = np.unique(classes, return_inverse=True, return_counts=True)
        order = torch.from_numpy(np.argsort(number, kind="stable"))
        sizes = torch.from_numpy(counts)
        return cls(order, sizes.cumsum(0) - sizes, sizes)

    def draw(self) -> Tensor:
        """As many positions as there are samples, with replacement, from torch's generator.

        Each is of a class drawn uniformly, and of a sample drawn uniformly from that class, as by
        ``WeightedRandomSampler`` with one over the size of the class.
        """
        drawn = torch.randint(len(self.counts), (len(self.positions),))
        within = torch.rand(len(self.positions), dtype=torch.float64) * self.counts[drawn]
        return self.positions[self.starts[drawn] + within.long()]
