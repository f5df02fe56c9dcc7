"""Random changes of inputs in two steps: draw the random numbers, then apply them.

What ``apply`` makes of a sample depends on that sample, its numbers and its strength only, to the
last bit: the batches of several trainings can be changed by one call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

Augment = Callable[[Tensor], Tensor]
"""From a batch of inputs ``(B, …)`` to another one of its shape and type."""


class InputChange(ABC):
    """A random change of every sample of a batch of floats ``(B, …)``, with a strength."""

    @abstractmethod
    def draw(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Random numbers for a batch, a row for each sample, on its device, float32 or float64.

        Neither their number nor their range depends on a strength. Without a generator they come
        from torch's global one.
        """

    @abstractmethod
    def apply(self, x: Tensor, draws: Tensor, strength: float | Tensor) -> Tensor:
        """The changed batch, a new one.

        A strength is one number, or a tensor ``(B,)`` of float64, which has the same bits.
        """


@dataclass(frozen=True)
class AtStrength:
    """A change with its strength, which draws its own numbers: a function of a batch."""

    change: InputChange
    strength: float

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The changed batch."""
        return self.change.apply(x, self.change.draw(x), self.strength)


def draw_uniform(x: Tensor, count: int, least: float, generator: Generator | None) -> Tensor:
    """So many numbers from ``least`` to below 1 for each sample, ``(B, count)``."""
    made = torch.empty(len(x), count, device=x.device, dtype=find_precision(x))
    return made.uniform_(least, 1.0, generator=generator)


def find_precision(x: Tensor) -> torch.dtype:
    """The type that changes of a batch are computed in: its own, or float32 where that is half."""
    return torch.promote_types(x.dtype, torch.float32)


def spread(strength: float | Tensor, draws: Tensor) -> float | Tensor:
    """A strength as a factor of ``draws``: a float, or a tensor ``(B, 1, …)`` of their type."""
    if not isinstance(strength, Tensor):
        return strength
    return strength.to(draws.dtype).view(-1, *[1] * (draws.ndim - 1))
