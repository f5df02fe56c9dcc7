"""Values of inputs changed where they are: noise, masks, erased boxes."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from trainables.regularisers.input_changes import (
    InputChange,
    draw_uniform,
    find_precision,
    spread,
)


class Noise(InputChange):
    """Gaussian noise with a standard deviation of ``deviation`` times the strength."""

    def __init__(self, deviation: float = 1.0) -> None:
        self._deviation = deviation

    def draw(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Standard normal numbers of the batch's shape."""
        return torch.randn(x.shape, generator=generator, device=x.device, dtype=find_precision(x))

    def apply(self, x: Tensor, draws: Tensor, strength: float | Tensor) -> Tensor:
        """The noisy batch."""
        return (x + draws * spread(self._deviation * strength, draws)).to(x.dtype)


class Mask(InputChange):
    """Sets up to half of the values to 0, the mean of a standardised feature."""

    def draw(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Numbers of the batch's shape, from 0 to 1."""
        return torch.rand(x.shape, generator=generator, device=x.device, dtype=find_precision(x))

    def apply(self, x: Tensor, draws: Tensor, strength: float | Tensor) -> Tensor:
        """The masked batch."""
        return x * (draws >= spread(0.5 * strength, draws))


class Erasing(InputChange):
    """Sets a box of 2 to 33 % of an image ``(C, H, W)`` to 0; the strength is its probability.

    Zhong et al. 2020. A box is wide or high with equal probability, up to 10 to 3.
    """

    def draw(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Whether, area, ratio of the sides, top, left: ``(B, 5)``, from 0 to 1."""
        return draw_uniform(x, 5, 0.0, generator)

    def apply(self, x: Tensor, draws: Tensor, strength: float | Tensor) -> Tensor:
        """The images with boxes erased."""
        height, width = x.shape[-2:]
        chosen, share, by, top, left = draws[:, :, None].unbind(1)
        area = (0.02 + 0.31 * share) * (height * width)
        # From 0.3 to 1 below a half, from 1 to 3.3 above it.
        ratio = torch.maximum(0.3 + 1.4 * by, 4.6 * by - 1.3)
        rows = _cover(height, (area * ratio).sqrt(), top)
        columns = _cover(width, (area / ratio).sqrt(), left)
        rows = rows & (chosen < spread(strength, chosen))
        return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def _cover(size: int, length: Tensor, start: Tensor) -> Tensor:
    """Which pixels of a side a box of a length covers, ``(B, size)``; ``start`` is from 0 to 1."""
    length = length.round().clamp(1, size)
    first = (start * (size - length + 1)).floor()
    places = torch.arange(size, device=length.device)
    return (places >= first) & (places < first + length)
