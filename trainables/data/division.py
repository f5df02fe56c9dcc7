"""Seeded, disjoint splits, stratified by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainables.config.data_info import Task
from trainables.errors import DataError

Indices = NDArray[np.int64]


def split_indices(
    y: NDArray[np.generic], task: Task, *, val: float, test: float, seed: int
) -> tuple[Indices, Indices, Indices | None]:
    """Rows of train, val and test (None if ``test`` is 0); fractions are of all rows.

    Raises:
        DataError: the fractions leave no training rows, or there are too few classes or rows.
    """
    from sklearn.model_selection import train_test_split

    if val <= 0 or test < 0 or val + test >= 1:
        raise DataError(
            "val must be above 0, test at least 0, and their sum below 1; "
            f"got val {val:g} and test {test:g}"
        )
    rows = np.arange(len(y), dtype=np.int64)
    strata = y if task is Task.CLASSIFICATION else None
    if strata is not None:
        _check_classes(strata, parts=3 if test else 2)
    try:
        held_out: Indices | None = None
        if test:
            rows, held_out = train_test_split(
                rows, test_size=test, random_state=seed, stratify=strata
            )
            strata = None if strata is None else y[rows]
        share = val / (1 - test)
        train, validation = train_test_split(
            rows, test_size=share, random_state=seed, stratify=strata
        )
    except ValueError as error:
        raise DataError(f"{len(y)} rows are too few to split: {error}") from None
    return train, validation, held_out


def _check_classes(y: NDArray[np.generic], parts: int) -> None:
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"the target has only one class, {str(classes[0])!r}; at least 2 are needed"
        )
    if counts.min() < parts:
        rare = classes[counts.argmin()]
        raise DataError(
            f"class {str(rare)!r} has {counts.min()} rows, too few for each of {parts} splits"
        )
