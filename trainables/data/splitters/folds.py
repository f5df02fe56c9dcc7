"""K folds: each replicate validates on another one."""

from __future__ import annotations

import numpy as np

from trainables.data.raw import Array, Indices
from trainables.data.splitters.base import Cases, Draw, Splitter
from trainables.errors import DataError

_OF_SEARCH = 2**31
"""The number of the division of a cross-validated search; replicates have small ones."""


class Folds(Splitter):
    """Validates on a fold of another splitter's; test rows are set aside by that one.

    The search validates on the first fold, replicates on the others in turn. After the last one
    rows are divided into folds anew.
    """

    def __init__(self, inner: Splitter, folds: int) -> None:
        self._inner, self._folds = inner, folds
        self.by_contents = inner.by_contents

    def read(self, by: Array, column: str) -> Array:
        """As the other splitter."""
        return self._inner.read(by, column)

    def check(self, cases: Cases, parts: int) -> None:
        """Check that there are rows for every fold, and for the test if there is one."""
        self._inner.check(cases, self._folds + parts - 2)

    def hold_out(self, cases: Cases, share: float, draw: Draw) -> tuple[Indices, Indices]:
        """As the other splitter."""
        return self._inner.hold_out(cases, share, draw)

    def set_aside(self, cases: Cases, parts: Array, share: float, draw: Draw) -> Indices:
        """As the other splitter."""
        return self._inner.set_aside(cases, parts, share, draw)

    def choose_validation(self, cases: Cases, share: float, draw: Draw) -> tuple[Indices, Indices]:
        """All other folds, and the fold of this replicate."""
        del share
        round_, fold = divmod(draw.replicate, self._folds)
        folds = self._inner.divide_into(cases, self._folds, Draw(draw.seed, round_).number)
        held = np.sort(folds[fold])
        if not len(held):
            raise DataError(f"fold {fold} of {self._folds} has no rows; set fewer folds")
        return np.setdiff1d(np.arange(cases.count), held), held

    def list_folds(
        self, cases: Cases, folds: int, share: float, draw: Draw
    ) -> list[tuple[Indices, Indices]]:
        """Folds that are no replicate's: rows are divided for the search apart."""
        return self._inner.list_folds(cases, folds, share, Draw(draw.seed, _OF_SEARCH))
