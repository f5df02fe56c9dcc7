"""Statistics of a trained network, as records that do not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ANATOMY_ROWS = 2048
"""Validation samples on which units and parameters are looked at."""


@dataclass(frozen=True)
class LayerAnatomy:
    """One weight tensor, and the units that it computes.

    ``dead`` of its ``units`` have the same output for every sample and position, at the layer or
    after the activation that follows it. ``units`` is 0 where they cannot be seen, as those of
    inner gates.
    """

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
    """Statistics of a whole network.

    ``nonzero`` parameters are not exactly zero: the degrees of freedom of an L1-penalised linear
    model (Zou, Hastie & Tibshirani 2007, On the "degrees of freedom" of the lasso). ``effective``
    ones are those of them that the outputs depend on: they are on a path from an input to an
    output (Vysogorets & Kempe 2023, Connectivity matters: neural network pruning through the lens
    of effective sparsity, JMLR 24). None where the outputs have no derivative.
    """

    parameters: int
    nonzero: int
    layers: tuple[LayerAnatomy, ...]
    effective: int | None = None

    @property
    def zeros(self) -> int:
        """The number of parameters that are exactly zero."""
        return self.parameters - self.nonzero

    @property
    def units(self) -> int:
        """The number of units in all layers."""
        return sum(layer.units for layer in self.layers)

    @property
    def dead(self) -> int:
        """The number of dead units in all layers."""
        return sum(layer.dead for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """A dict of JSON types. Its ``effective`` is what earlier versions called so."""
        return {
            "parameters": self.parameters,
            "effective": self.nonzero,
            "connected": self.effective,
            "layers": [asdict(layer) for layer in self.layers],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Anatomy:
        """The inverse of :meth:`to_dict`."""
        return cls(
            raw["parameters"],
            raw["effective"],
            tuple(LayerAnatomy(**layer) for layer in raw["layers"]),
            raw.get("connected"),
        )
