"""Where an epoch is in a training on several folds. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FOLD = "fold"
"""The number of an epoch's fold, from 1, among the metrics of the epoch."""


@dataclass(frozen=True)
class FoldEpoch:
    """The number of the fold, from 1, and that of the epoch within it, from 1.

    With the last epoch of the fold, ``kept`` are the metrics at its kept weights, and ``control``
    those at its control's, of a training that has one.
    """

    fold: int
    epoch: int
    kept: Mapping[str, float] | None = None
    control: Mapping[str, float] | None = None

    @property
    def ends(self) -> bool:
        """Whether the training on this fold has ended."""
        return self.kept is not None
