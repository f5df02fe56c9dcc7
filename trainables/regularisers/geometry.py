"""Images ``(B, C, H, W)`` that are moved, rotated, scaled, sheared, cropped and flipped.

What comes from outside of an image is 0. Values between pixels are bilinear, and pixels are areas
(``align_corners=False``).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812  # the conventional name
from torch import Generator, Tensor

from trainables.regularisers.input_changes import (
    InputChange,
    draw_uniform,
    find_precision,
    spread,
)

_ROUNDING = 1e-4
"""Pixels by which a product may exceed a whole number of pixels without being more."""


class Shift(InputChange):
    """Translation by up to a quarter of each side."""

    def draw(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Right and down, ``(B, 2)``, from -1 to 1."""
        return draw_uniform(x, 2, -1.0, generator)

    def apply(self, x: Tensor, draws: Tensor, strength: float | Tensor) -> Tensor:
        """The moved images."""
        height, width = x.shape[-2:]
        right, down = (draws * spread(0.5 * strength, draws))[:, :, None, None].unbind(1)
        columns = _list_places(width, x) / width - right
        rows = _list_places(height, x)[:, None] / height - down
        zero = columns.new_zeros(())
        return _sample(x, torch.complex(columns, zero), torch.complex(zero, rows))


class Affine(InputChange):
    """Rotation up to 30°, translation up to 15 %, scaling up to 25 % and shear up to 15°."""

    def draw(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Angle, right, down, scale, shear along x and along y, ``(B, 6)``, from -1 to 1."""
        return draw_uniform(x, 6, -1.0, generator)

    def apply(self, x: Tensor, draws: Tensor, strength: float | Tensor) -> Tensor:
        """The transformed images."""
        height, width = x.shape[-2:]
        drawn = (draws * spread(strength, draws))[:, :, None, None]
        angle, right, down, scale, shear_x, shear_y = drawn.unbind(1)
        columns = _list_places(width, x) - right * (0.3 * width)
        rows = _list_places(height, x)[:, None] - down * (0.3 * height)
        along_x, along_y = (shear_x * math.radians(15)).tan(), (shear_y * math.radians(15)).tan()
        angle, scale = angle * math.radians(30), 0.25 * scale + 1
        cos, sin = angle.cos() / scale, angle.sin() / scale
        y_by_x, y_by_y = along_y * cos - sin, along_y * sin + cos
        x_by_x, x_by_y = along_x * y_by_x + cos, along_x * y_by_y + sin
        return _sample(
            x,
            torch.complex(columns * (x_by_x / width), columns * (y_by_x / height)),
            torch.complex(rows * (x_by_y / width), rows * (y_by_y / height)),
        )


class CropFlip(InputChange):
    """A crop of the image padded by up to a quarter, flipped with probability 0.5."""

    def draw(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Top, left, and whether it is flipped (below 0.5), ``(B, 3)``, from 0 to 1."""
        return draw_uniform(x, 3, 0.0, generator)

    def apply(self, x: Tensor, draws: Tensor, strength: float | Tensor) -> Tensor:
        """The crops."""
        height, width = x.shape[-2:]
        top, left, flip = draws[:, :, None].unbind(1)
        rows = torch.arange(height, device=x.device) + _draw_offset(height, top, strength)
        columns = torch.arange(width, device=x.device)
        columns = torch.where(flip < 0.5, columns.flip(0), columns)
        columns = columns + _draw_offset(width, left, strength)
        # One line of zeros around the image stands for all padding.
        rows, columns = rows.clamp(-1, height) + 1, columns.clamp(-1, width) + 1
        places = (rows[:, :, None] * (width + 2) + columns[:, None, :]).long().flatten(1)
        padded = F.pad(x, (1, 1, 1, 1)).flatten(2)
        return padded.gather(2, places[:, None].expand(-1, x.shape[1], -1)).view(x.shape)


def _draw_offset(size: int, drawn: Tensor, strength: float | Tensor) -> Tensor:
    """Whole pixels, up to a quarter of a side in both directions, by numbers from 0 to 1."""
    share = 0.25 * size * strength - _ROUNDING
    padding = math.ceil(share) if isinstance(share, float) else spread(share.ceil(), drawn)
    return ((2 * padding + 1) * drawn).floor() - padding


def _list_places(size: int, x: Tensor) -> Tensor:
    """The centres of pixels along one side, in half pixels from its middle, ``(size,)``."""
    return torch.arange(1 - size, size, 2, device=x.device, dtype=find_precision(x))


def _sample(x: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Images at the sums of places along columns ``(B, 1, W)`` and rows ``(B, H, 1)``.

    Places are complex numbers, x + iy, from -1 to 1 at the edges of an image: one addition then
    writes both coordinates side by side, as sampling needs them.
    """
    grid = torch.view_as_real(columns + rows)
    return F.grid_sample(x.to(grid.dtype), grid, align_corners=False).to(x.dtype)
