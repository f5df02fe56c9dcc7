"""Random divisions in which every class keeps its share."""

from __future__ import annotations

import numpy as np

from trainables.data.raw import Array, Indices
from trainables.data.splitters.base import Cases, Draw, Splitter
from trainables.data.splitters.shuffle import shuffle_apart
from trainables.data.tasks import doubt_classes
from trainables.errors import DataError


class Stratified(Splitter):
    """Random rows; every class keeps its share of each part, where rows have classes."""

    def check(self, cases: Cases, parts: int) -> None:
        """Check that there are two classes, and in each of them a row for every part."""
        if cases.classes is None:
            return
        classes, counts = np.unique(cases.classes, return_counts=True)
        if len(classes) < 2:
            raise DataError(
                f"the target has only one class, {str(classes[0])!r}; at least 2 are needed"
            )
        if counts.min() < parts:
            rare = classes[counts.argmin()]
            raise DataError(
                f"class {str(rare)!r} has {counts.min()} rows, too few for each of {parts} splits; "
                f"every class needs at least {parts}{doubt_classes(classes)}"
            )

    def hold_out(self, cases: Cases, share: float, draw: Draw) -> tuple[Indices, Indices]:
        """Random rows."""
        try:
            return shuffle_apart(cases.count, share, draw.number, cases.classes)
        except ValueError as error:
            raise DataError(f"{cases.count} rows are too few to split: {error}") from None

    def divide_into(self, cases: Cases, folds: int, number: int) -> list[Indices]:
        """Random folds of about the same size, with the same share of every class."""
        from sklearn.model_selection import KFold, StratifiedKFold  # takes a second

        rows = np.zeros(cases.count)
        self.check(cases, folds)
        if cases.count < folds:
            raise DataError(f"{cases.count} rows are too few for {folds} folds")
        if cases.classes is None:
            made = KFold(folds, shuffle=True, random_state=number).split(rows)
        else:
            stratified = StratifiedKFold(folds, shuffle=True, random_state=number)
            made = stratified.split(rows, cases.classes)
        return [held for _, held in made]

    def set_aside(self, cases: Cases, parts: Array, share: float, draw: Draw) -> Indices:
        """The same share of every part, and of every class in it as far as its rows suffice.

        One row of each class stays in its part.
        """
        strata = parts if cases.classes is None else _pair(parts, cases.classes)
        rng = np.random.default_rng(draw.number)
        chosen = [
            rows[_draw_evenly(strata[rows], share, rng)]
            for rows in (np.flatnonzero(parts == part) for part in np.unique(parts))
        ]
        return np.concatenate(chosen)


def _pair(first: Array, second: Array) -> Array:
    """A number for each pair of values."""
    codes = [np.unique(values, return_inverse=True)[1].reshape(-1) for values in (first, second)]
    pairs: Indices = codes[0] * (codes[1].max() + 1) + codes[1]
    return pairs


def _draw_evenly(strata: Array, share: float, rng: np.random.Generator) -> Indices:
    """Positions of ``share`` of the rows, systematically over strata that may have one row."""
    order = rng.permutation(len(strata))
    keys = np.full(len(strata), np.inf)
    for stratum in np.unique(strata):
        rows = order[strata[order] == stratum][:-1]
        keys[rows] = (np.arange(len(rows)) + rng.random()) / (len(rows) + 1)
    wanted = min(max(1, round(share * len(strata))), int(np.isfinite(keys).sum()))
    return np.sort(np.argsort(keys, kind="stable")[:wanted]).astype(np.int64)
