"""Corruptions of inputs in graded strengths: noise, blur, shift, missing values.

Each function takes inputs ``(N, …)`` and returns new ones; at level 0 they are equal. Random
numbers come from the given generator, on the CPU, so that all networks see the same ones.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F  # noqa: N812  # the conventional name
from torch import Generator, Tensor

from trainables.data.table_columns import TableColumns

_NEAREST = 3
"""Deviations at which the kernel of a blur ends."""
_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def add_noise(x: Tensor, level: float, scale: Tensor, generator: Generator) -> Tensor:
    """Gaussian noise of ``level`` times the standard deviation ``scale``, which broadcasts."""
    drawn = torch.randn(x.shape, generator=generator).to(x.device, x.dtype)
    return x + level * scale.to(x.device, x.dtype) * drawn


def blur(x: Tensor, sigma: float) -> Tensor:
    """Images ``(N, C, H, W)`` blurred by a Gaussian of ``sigma`` pixels; borders are repeated."""
    if not sigma:
        return x.clone()
    reach = math.ceil(_NEAREST * sigma)
    places = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    with torch.autocast(x.device.type, enabled=False):  # inputs are as exact as without blur
        rows = F.conv2d(padded, kernel[:, :, :, None], groups=x.shape[1])
        return F.conv2d(rows, kernel[:, :, None, :], groups=x.shape[1])


def shift(x: Tensor, pixels: float, generator: Generator) -> Tensor:
    """Images ``(N, C, H, W)``, each moved by ``pixels`` to a random side; borders are repeated."""
    height, width = x.shape[-2:]
    drawn = torch.randint(len(_DIRECTIONS), (len(x),), generator=generator)
    by = (torch.tensor(_DIRECTIONS)[drawn] * round(pixels)).to(x.device)
    rows, columns = (
        (torch.arange(size, device=x.device) - by[:, axis, None]).clamp(0, size - 1)
        for axis, size in enumerate((height, width))
    )
    first = torch.arange(len(x), device=x.device)[:, None, None]
    moved = x.movedim(1, -1)[first, rows[:, :, None], columns[:, None, :]]
    return moved.movedim(-1, 1)


def drop_values(x: Tensor, share: float, columns: TableColumns, generator: Generator) -> Tensor:
    """Rows ``(N, features)`` with a ``share`` of each column's values missing, and filled."""
    missing = torch.rand(len(x), len(columns.names), generator=generator) < share
    chosen = missing[:, columns.owner].to(x.device)
    return torch.where(chosen, columns.fill.to(x.device, x.dtype), x)


def measure_deviation(rows: Iterable[Tensor]) -> Tensor:
    """The standard deviation that noise of level 1 has, for inputs in batches ``(B, …)``.

    Of images ``(C, H, W)`` it is that of all pixels, of anything else that of each position over
    the samples: of each column of a table, of each feature at each step of a series. What never
    varies gets no noise. Where batches differ in shape, as of padded series, it is that of all
    values.
    """
    batches = list(rows)
    one_shape = len({batch.shape[1:] for batch in batches}) == 1
    whole = batches[0].ndim == _IMAGES or not one_shape
    dims = None if whole else 0
    count = sum(batch.numel() if whole else len(batch) for batch in batches)
    wide = torch.float64
    mean = _add_up(batch.sum(dims, dtype=wide) for batch in batches) / count
    apart = (batch.float() - mean.float() for batch in batches)
    return (_add_up(x.square_().sum(dims, dtype=wide) for x in apart) / count).sqrt()


def _add_up(tensors: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, tensors)


_IMAGES = 4
