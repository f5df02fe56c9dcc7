"""Random divisions in which every group of rows stays together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainables.data.raw import Array, Indices
from trainables.data.splitters.base import Cases, Draw, Splitter, get_by
from trainables.errors import DataError

_ATTEMPTS = 100


class Group(Splitter):
    """Random groups, about as many as have the wanted share of the rows.

    It draws again, up to 100 times, if a class would have no rows among those that stay.
    """

    def read(self, by: Array, column: str) -> Array:
        """A number for each group."""
        names = by.astype(str) if by.dtype == object else by
        codes: Indices = np.unique(names, return_inverse=True)[1].reshape(-1)
        return codes

    def check(self, cases: Cases, parts: int) -> None:
        """Check that there is a group for every part."""
        count = len(np.unique(get_by(cases)))
        if count < parts:
            names = {2: "training and validation", 3: "training, validation and test"}
            need = names.get(parts, "the folds and the test")
            raise DataError(f"there are {count} groups; {need} need at least {parts}")

    def hold_out(self, cases: Cases, share: float, draw: Draw) -> tuple[Indices, Indices]:
        """Random groups. At least two stay if there are more than two, for the next division."""
        self.check(cases, 2)
        by = get_by(cases)
        groups, sizes = np.unique(by, return_counts=True)
        rng = np.random.default_rng([draw.seed, draw.replicate])
        for _ in range(_ATTEMPTS):
            mask = np.isin(by, _choose(groups, sizes, share, rng))
            if _leaves_classes(cases, mask):
                break
        return np.flatnonzero(~mask), np.flatnonzero(mask)

    def divide_into(self, cases: Cases, folds: int, number: int) -> list[Indices]:
        """Folds of whole groups, random and of about the same size; classes keep their shares."""
        from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

        rows, by = np.zeros(cases.count), get_by(cases)
        groups = len(np.unique(by))
        if groups < folds:
            raise DataError(f"there are {groups} groups; {folds} folds need at least {folds}")
        if cases.classes is None:
            made = GroupKFold(folds, shuffle=True, random_state=number).split(rows, groups=by)
        else:
            stratified = StratifiedGroupKFold(folds, shuffle=True, random_state=number)
            most = int(np.unique(cases.classes, return_counts=True)[1].max())
            if most < folds:
                raise DataError(f"no class has {folds} rows for {folds} folds; the most are {most}")
            made = stratified.split(rows, cases.classes, by)
        return [held for _, held in made]


def _choose(groups: Array, sizes: Array, share: float, rng: np.random.Generator) -> Array:
    """Random groups whose rows come closest to the share."""
    order = rng.permutation(len(groups))
    rows = np.cumsum(sizes[order])
    most = len(groups) - (2 if len(groups) > 2 else 1)
    count = int(np.abs(rows[:most] - share * rows[-1]).argmin()) + 1
    return groups[order[:count]]


def _leaves_classes(cases: Cases, held: NDArray[np.bool_]) -> bool:
    if cases.classes is None:
        return True
    return len(np.unique(cases.classes[~held])) == len(np.unique(cases.classes))
