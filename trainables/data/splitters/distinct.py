"""Random divisions in which equal rows stay together, and every class keeps its share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainables.data.raw import Array, Indices
from trainables.data.splitters.base import Cases, Draw, Splitter, get_by
from trainables.data.splitters.stratified import Stratified


class Distinct(Splitter):
    """Divides distinct rows as :class:`Stratified` does; copies follow their first row."""

    by_contents = True

    def __init__(self) -> None:
        self._inner = Stratified()

    def check(self, cases: Cases, parts: int) -> None:
        """Check the distinct rows."""
        self._inner.check(_find_distinct(cases)[0], parts)

    def hold_out(self, cases: Cases, share: float, draw: Draw) -> tuple[Indices, Indices]:
        """Random distinct rows, with all that equal them."""
        distinct, numbers = _find_distinct(cases)
        stay, held = self._inner.hold_out(distinct, share, draw)
        return _spread(stay, numbers), _spread(held, numbers)

    def divide_into(self, cases: Cases, folds: int, number: int) -> list[Indices]:
        """Folds of distinct rows, with all that equal them."""
        distinct, numbers = _find_distinct(cases)
        return [_spread(held, numbers) for held in self._inner.divide_into(distinct, folds, number)]


def _find_distinct(cases: Cases) -> tuple[Cases, Indices]:
    """The first row of each kind, and the number of each row's kind."""
    _, first, numbers = np.unique(get_by(cases), return_index=True, return_inverse=True)
    classes = None if cases.classes is None else cases.classes[first]
    return replace(cases, count=len(first), classes=classes, by=first), numbers.reshape(-1)


def _spread(kinds: Indices, numbers: Array) -> Indices:
    """The rows of some kinds."""
    return np.flatnonzero(np.isin(numbers, kinds)).astype(np.int64)
