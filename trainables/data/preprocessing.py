"""What is done to raw inputs before a network sees them, and how to read what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Column:
    """One column of a table: a number that is standardised, or a word of several."""

    name: str
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Preprocessing:
    """Fitted on the training split. The default changes nothing.

    Inputs of a table are its ``columns``, in this order; other inputs are divided by ``divisor``.
    ``classes`` name the outputs of a classification; those of a regression were standardised by
    ``target_mean`` and ``target_scale``, which are empty where they were not.
    """

    divisor: float = 1.0
    columns: tuple[Column, ...] = ()
    classes: tuple[str | int | float | bool, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()

    def raw_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """One sample's shape before any of it, for a network of this input shape."""
        return (len(self.columns),) if self.columns else tuple(input_shape)


class WithPreprocessing(nn.Module):
    """A network that takes raw inputs and returns a regression in its own units.

    Of a table a word is given as its category's number, anything else for an unknown one; numbers
    come first in what the network is fed, as when it was trained.
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
        self.register_buffer("mean", torch.tensor([c.mean for _, c in numbers]))
        self.register_buffer("scale", torch.tensor([c.scale for _, c in numbers]))
        self.register_buffer("target_mean", torch.tensor(preprocessing.target_mean))
        self.register_buffer("target_scale", torch.tensor(preprocessing.target_scale))

    mean: Tensor
    scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Raw inputs ``(B, …)`` to the network's outputs ``(B, outputs)``."""
        outputs: Tensor = self.network(self._prepared(x))
        return outputs * self.target_scale + self.target_mean if self._rescale else outputs

    def _prepared(self, x: Tensor) -> Tensor:
        if not self._is_table:
            return x / self._divisor
        parts = [(x[:, self._numbers] - self.mean) / self.scale] if self._numbers else []
        for position, count in self._words:
            categories = torch.arange(count, device=x.device)
            parts.append((x[:, position : position + 1] == categories).to(x.dtype))
        return torch.cat(parts, 1)
