"""Missing values of tables: refused, or dropped with their rows, or left to be imputed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.data.column_advice import Remedies
from trainables.data.nests import Nest, list_leaves
from trainables.data.notes import Note, count, list_some
from trainables.data.raw import Raw
from trainables.errors import DataError

MISSING = "(missing)"
"""The category of a missing value in a column of categories."""


def drop_incomplete(frame: pd.DataFrame, source: object) -> tuple[pd.DataFrame, list[Note]]:
    """The rows without missing values, which keep their index, and how many were dropped.

    Raises:
        DataError: no row is left.
    """
    missing = frame.isna()
    rows = missing.any(axis=1).to_numpy()
    if not rows.any():
        return frame, []
    where = _list_counts(missing)
    if rows.all():
        raise DataError(f"{source}: every row has a missing value, so none is left: {where}")
    dropped = f"{int(rows.sum()):,} of {count(len(frame), 'row')}, with missing values in {where}"
    return frame.loc[~rows].infer_objects(), [Note("dropped", dropped)]


def drop_from_arrays(parts: Mapping[str, Raw]) -> tuple[dict[str, Raw], list[Note]]:
    """The samples of arrays without missing inputs or targets, and how many were dropped.

    Raises:
        DataError: no sample of a part is left.
    """
    made, notes = {}, []
    for name, part in parts.items():
        missing = _find_missing((part.x, part.y), len(part))
        if missing.all():
            raise DataError(f"{name}: every row has a missing value, so none is left")
        made[name] = part
        if missing.any():
            made[name] = part.rows(np.flatnonzero(~missing))
            where = "" if name == "all" else f" of {name}"
            counted = f"{int(missing.sum()):,} of {count(len(part), 'row')}"
            notes.append(Note("dropped", f"{counted}{where}, with missing values"))
    return made, notes


def refuse_missing_in_arrays(parts: Mapping[str, Raw], *, inputs: bool) -> None:
    """Check that no target, and no input if so wished, is missing.

    Raises:
        DataError: one is.
    """
    for name, part in parts.items():
        for what, nest in (("input", part.x if inputs else ()), ("target", part.y)):
            missing = _find_missing(nest, len(part))
            if missing.any():
                where = "" if name == "all" else f"{name}, "
                raise DataError(
                    f"{where}row {int(missing.argmax())}: the {what} is NaN, as in "
                    f"{count(int(missing.sum()), 'row')}; fill them, or set `missing: drop`"
                )


def _find_missing(nest: Nest, rows: int) -> NDArray[np.bool_]:
    """Which samples have a NaN."""
    missing = np.zeros(rows, dtype=bool)
    for leaf in list_leaves(nest):
        if np.issubdtype(leaf.dtype, np.floating):
            missing |= np.isnan(leaf).reshape(rows, -1).any(axis=1)
    return missing


def impute(frame: pd.DataFrame) -> list[Note]:
    """What will be imputed when the table is encoded.

    Raises:
        DataError: a column has no value at all.
    """
    missing = frame.isna()
    empty = missing.all(axis=0).to_numpy()
    if empty.any() and len(frame):
        raise DataError(
            f"column {frame.columns[int(empty.argmax())]!r} has no values; leave it out"
        )
    if not missing.to_numpy().any():
        return []
    return [
        Note(
            "imputed",
            f"missing values in {_list_counts(missing)}: numbers by the median of the training "
            f"rows, categories by one of their own, {MISSING!r}",
        )
    ]


def refuse_missing(frame: pd.DataFrame, part: str, remedies: Remedies) -> None:
    """Check that no value is missing.

    Raises:
        DataError: one is; the message names the first row and what to do.
    """
    missing = frame.isna()
    if missing.to_numpy().any():
        where, column = _find_first(missing)
        raise DataError(
            f"{part}row {where}, column {column!r} is missing or NaN; missing values are in "
            f"{_list_counts(missing)}: {remedies.missing}"
        )


def refuse_infinite(frame: pd.DataFrame, part: str) -> None:
    """Check that no number is infinite.

    Raises:
        DataError: one is; the message names the first row.
    """
    numbers = frame.select_dtypes(np.floating)
    infinite = numbers.isin([np.inf, -np.inf])
    if infinite.to_numpy().any():
        where, column = _find_first(infinite)
        raise DataError(f"{part}row {where}, column {column!r} is infinite; correct or drop it")


def _find_first(flags: pd.DataFrame) -> tuple[object, str]:
    row = int(flags.to_numpy().any(axis=1).argmax())
    return flags.index[row], str(flags.columns[int(flags.iloc[row].to_numpy().argmax())])


def _list_counts(missing: pd.DataFrame) -> str:
    counts = missing.sum()
    return list_some([f"{name} ({int(n):,})" for name, n in counts.items() if n])
