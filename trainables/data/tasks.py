"""Guesses what is predicted, and says why."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainables.config.data_info import Task
from trainables.data.nests import Nest
from trainables.data.raw import Array

_FEW = 20
"""Different whole numbers that are classes, whatever the number of samples."""


def guess_task(y: Nest) -> Task:
    """Strings, booleans, integers and a few different whole numbers mean classification.

    Other floats mean regression. Several columns of booleans or of 0 and 1 mean multi-label
    classification, other integers in several columns a class for each position. Several arrays are
    a task of the user's own.
    """
    if not isinstance(y, np.ndarray):
        return Task.OTHER
    is_float = np.issubdtype(y.dtype, np.floating)
    if is_float and y.ndim > 2:
        return Task.REGRESSION
    is_one = y.size == len(y)
    if y.ndim <= 2 and set(np.unique(y)) <= {0, 1}:
        return Task.CLASSIFICATION if is_one else Task.MULTILABEL
    if is_float:
        return Task.CLASSIFICATION if is_one and are_classes(y) else Task.REGRESSION
    return Task.CLASSIFICATION


def are_classes(y: Array) -> bool:
    """Whether floats are whole numbers, and few for their count: labels that were made floats."""
    values: Any = y
    with np.errstate(invalid="ignore"):
        if not (np.isfinite(values) & (values % 1 == 0)).all():
            return False
    return len(np.unique(values)) <= max(_FEW, len(y) ** 0.5) and 2 * len(np.unique(values)) <= len(
        y
    )


def doubt_classes(classes: Array) -> str:
    """The end of an error about classes that may be numbers to predict; empty if they cannot."""
    if np.asarray(classes).dtype.kind not in "iuf":
        return ""
    values: Any = np.unique(classes)
    whole = " whole" if (values % 1 == 0).all() else ""
    return (
        f"; the targets are{whole} numbers, {len(values):,} different ones, and are read as "
        "classes: if they are amounts to predict, set `task: regression` in data"
    )
