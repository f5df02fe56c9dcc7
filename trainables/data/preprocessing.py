"""Preprocessing of raw inputs, and the inverse transformation of regression outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Column:
    """A column of a table: a number to standardise, or one of several categories.

    ``fill`` stands for a missing number.
    """

    name: str
    mean: float = 0.0
    scale: float = 1.0
    fill: float = 0.0
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing fitted on the training split. The default is the identity.

    ``columns`` describes the columns of a table in order; other inputs are divided by ``divisor``.
    ``classes`` names the outputs of a classification. Regression targets are standardised by
    ``target_mean`` and ``target_scale``; both are empty if they are not.
    """

    divisor: float = 1.0
    columns: tuple[Column, ...] = ()
    classes: tuple[str | int | float | bool, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()

    @property
    def raw_type(self) -> torch.dtype:
        """The type that raw numbers of a table need: float64 if float32 would lose differences."""
        return _find_type([(c.mean, c.scale) for c in self.columns if c.categories is None])

    def get_raw_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a raw sample, for a network with this input shape."""
        return (len(self.columns),) if self.columns else tuple(input_shape)


_STEPS = 1000
"""Steps of float32 that a deviation has at least, or numbers are computed in float64."""


def _find_type(scales: Sequence[tuple[float, float]]) -> torch.dtype:
    """The type in which numbers of these means and deviations keep their differences."""
    steps = [(abs(mean) * torch.finfo(torch.float32).eps, scale) for mean, scale in scales]
    return torch.float64 if any(_STEPS * s > scale for s, scale in steps) else torch.float32


class WithPreprocessing(nn.Module):
    """A network that takes raw inputs and returns regression outputs in the target's units.

    Both are float64 where float32 would lose differences, of seconds since 1970 for example.
    A category of a table is given by its index; any other number means an unknown category. The
    network's inputs start with the numeric columns, as in training. A missing number is NaN.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self._divisor = preprocessing.divisor
        columns = list(enumerate(preprocessing.columns))
        numbers = [(i, c) for i, c in columns if c.categories is None]
        self._numbers = [i for i, _ in numbers]
        self._words = [(i, len(c.categories)) for i, c in columns if c.categories is not None]
        self._is_table = bool(columns)
        self._rescale = bool(preprocessing.target_scale)
        means, scales = preprocessing.target_mean, preprocessing.target_scale
        kind, target = preprocessing.raw_type, _find_type([*zip(means, scales, strict=True)])
        self.register_buffer("mean", torch.tensor([c.mean for _, c in numbers], dtype=kind))
        self.register_buffer("scale", torch.tensor([c.scale for _, c in numbers], dtype=kind))
        self.register_buffer("fill", torch.tensor([c.fill for _, c in numbers], dtype=kind))
        self.register_buffer("target_mean", torch.tensor(means, dtype=target))
        self.register_buffer("target_scale", torch.tensor(scales, dtype=target))

    mean: Tensor
    scale: Tensor
    fill: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Raw inputs ``(B, …)`` to the network's outputs ``(B, outputs)``."""
        return self.rescale(self.network(self._prepare(x)))

    def rescale(self, outputs: Tensor) -> Tensor:
        """Outputs of the network in the target's units, where they are standardised."""
        return outputs * self.target_scale + self.target_mean if self._rescale else outputs

    def _prepare(self, x: Tensor) -> Tensor:
        if not self._is_table:
            return x if self._divisor == 1 else x / self._divisor
        parts = [self._standardise(x[:, self._numbers])] if self._numbers else []
        for position, count in self._words:
            categories = torch.arange(count, device=x.device)
            parts.append((x[:, position : position + 1] == categories).to(x.dtype))
        made = torch.cat(parts, 1)
        return made.float() if made.dtype == torch.float64 else made  # networks are float32

    def _standardise(self, numbers: Tensor) -> Tensor:
        known = torch.where(torch.isnan(numbers), self.fill, numbers)
        return (known - self.mean) / self.scale
