"""The penalties that ``penalty`` in a space can name, and their style in plots."""

from __future__ import annotations

from typing import ClassVar, Literal

from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry


class PenaltyKind(Component):
    """A penalty by name. ``reads`` are the keys of its parameters in a space.

    ``colour`` is from the palette of Okabe and Ito; ``marker`` is a matplotlib marker.
    """

    implementation: ClassVar[str] = ""
    reads: ClassVar[tuple[str, ...]] = ("lambda",)
    colour: ClassVar[str] = "#CC79A7"
    marker: ClassVar[str] = "D"

    @property
    def path(self) -> str:
        """The import path of the class."""
        return self.implementation


class CustomPenalty(PenaltyKind, Custom):
    """A user-defined subclass of ``Penalty``."""

    expected = "trainables.regularisers.penalties:Penalty"

    name: ImportPath

    @property
    def path(self) -> str:
        """The import path in the spec."""
        return self.name


penalties: Registry[PenaltyKind] = Registry("penalty", CustomPenalty, group="penalties")


@penalties.register
class L1(PenaltyKind):
    """λ·Σ|w|."""

    implementation = "trainables.regularisers.penalties:L1"
    colour = "#E69F00"
    marker = "o"

    name: Literal["l1"]


@penalties.register
class L2(PenaltyKind):
    """λ·Σw²."""

    implementation = "trainables.regularisers.penalties:L2"
    colour = "#0072B2"
    marker = "s"

    name: Literal["l2"]


@penalties.register
class ElasticNet(PenaltyKind):
    """λ·(l1_ratio·Σ|w| + (1 − l1_ratio)·Σw²)."""

    implementation = "trainables.regularisers.penalties:ElasticNet"
    reads = ("lambda", "l1_ratio")
    colour = "#009E73"
    marker = "^"

    name: Literal["elastic_net"]


@penalties.register
class GroupLasso(PenaltyKind):
    """λ·Σ√n·‖unit‖."""

    implementation = "trainables.regularisers.penalties:GroupLasso"
    colour = "#56B4E9"
    marker = "v"

    name: Literal["group_lasso"]
