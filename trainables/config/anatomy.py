"""Statistics of a trained network, as records that do not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerAnatomy:
    """One weight tensor. ``dead`` of its ``units`` have the same output for every sample."""

    name: str
    weights: int
    zeros: int
    norm: float
    units: int
    dead: int

    @property
    def sparsity(self) -> float:
        """The share of weights that are exactly zero."""
        return self.zeros / self.weights


@dataclass(frozen=True)
class Anatomy:
    """Statistics of a whole network. ``effective`` counts its non-zero parameters.

    That number is the degrees of freedom of an L1-penalised linear model: Zou, Hastie &
    Tibshirani 2007, On the "degrees of freedom" of the lasso.
    """

    parameters: int
    effective: int
    layers: tuple[LayerAnatomy, ...]

    def to_dict(self) -> dict[str, Any]:
        """A dict of JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Anatomy:
        """The inverse of :meth:`to_dict`."""
        return cls(
            raw["parameters"],
            raw["effective"],
            tuple(LayerAnatomy(**layer) for layer in raw["layers"]),
        )
