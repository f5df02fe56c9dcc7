"""What corrupted inputs do to a trained network's scores, as records that do not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CALIBRATION = "ece"
"""The expected calibration error among the scores (Guo et al. 2017)."""


@dataclass(frozen=True)
class Level:
    """The scores at one level of a corruption."""

    level: float
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Curve:
    """The scores at growing levels of a corruption, in its ``unit``."""

    corruption: str
    unit: str
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Robustness:
    """The scores of one network on ``rows`` test samples, as they are and corrupted.

    Scores are ``loss``, the first metric, and of a classification ``ece``. ``reason`` says why
    nothing was measured, or not all of it.
    """

    rows: int = 0
    clean: Mapping[str, float] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    reason: str = ""
