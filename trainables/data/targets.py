"""The target columns of a table: numbers, booleans or text, in a type of NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from trainables.config.data_info import Task
from trainables.data.column_advice import Remedies
from trainables.data.column_kinds import are_numbers, check_labels, find_types, holds_times
from trainables.data.raw import Array
from trainables.errors import DataError

_PLAIN = {"i": np.int64, "u": np.uint64, "b": np.bool_}
"""Types of NumPy for nullable ones."""


def read_targets(
    frame: pd.DataFrame, names: Sequence[str], task: Task | None, source: str, remedies: Remedies
) -> Array:
    """The targets ``(N, names)``. Text that looks like numbers has to be declared as classes.

    Raises:
        DataError: a target is missing, or a column is of another kind.
    """
    made = {name: _read_target(frame[name], task, source, remedies) for name in names}
    texts = [n for n, column in made.items() if not pd.api.types.is_numeric_dtype(column.dtype)]
    if texts and len(names) > 1:
        raise DataError(
            f"{source}: the target {texts[0]!r} has text; several targets are numbers, or labels "
            "of 0 and 1"
        )
    targets: Array = pd.DataFrame(made).to_numpy()
    return targets


def _read_target(
    column: pd.Series[Any], task: Task | None, source: str, remedies: Remedies
) -> pd.Series[Any]:
    name, missing = column.name, column.isna().to_numpy()
    if missing.any():
        row = column.index[np.flatnonzero(missing)].tolist()[0]
        raise DataError(
            f"{source}: row {row} has no target ({name!r} is missing in {int(missing.sum())} "
            "rows); fill it, or drop such rows with `missing: drop`"
        )
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_numeric_dtype(column.dtype):
        own = isinstance(column.dtype, np.dtype)
        return column if own else column.astype(_PLAIN.get(column.dtype.kind, np.float64))
    if holds_times(column):
        raise DataError(f"{source}: the target {name!r} has dates; predict numbers or classes")
    kinds = find_types(column)
    if are_numbers(kinds):
        return column.astype(np.float64)
    if kinds != {str}:
        raise DataError(
            f"{source}: the target {name!r} has values that are neither numbers nor text"
        )
    if task is not Task.CLASSIFICATION:
        labels = replace(
            remedies,
            as_category="set `task: classification`",
            stray="correct them, or name them in `missing_values` and set `missing: drop`",
        )
        check_labels(column, f"{source}: ", labels)
    return column
