"""Checks tables of inputs before they are divided, while rows have the numbers of their source."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from trainables.config.data import Missing
from trainables.data.column_advice import OF_FUNCTION, Remedies
from trainables.data.column_kinds import ColumnKind, find_kind, is_name_of_rows
from trainables.data.missing import (
    MISSING,
    drop_from_arrays,
    impute,
    refuse_infinite,
    refuse_missing,
    refuse_missing_in_arrays,
)
from trainables.data.notes import Note, list_some
from trainables.data.raw import Raw
from trainables.errors import DataError

_LEAST = 10
"""Rows from which on a column may be told as an identifier."""


@dataclass(frozen=True)
class TableRules:
    """How tables are read: what the spec says of columns, and what a person can do about one.

    ``arrays`` says that arrays ``(N, features)`` are read as tables.
    """

    remedies: Remedies
    categories: Collection[str] = ()
    missing: Missing = "refuse"
    arrays: bool = False


OF_FUNCTIONS = TableRules(OF_FUNCTION)
"""Tables that a function returns."""


def read_inputs(
    parts: Mapping[str, Raw], rules: TableRules
) -> tuple[dict[str, Raw], tuple[Note, ...]]:
    """Parts whose tables have columns of numbers, in float or integer types, and of text.

    Arrays ``(N, features)`` are checked as tables and stay arrays, other inputs stay as they are.

    Raises:
        DataError: a column can be no input, a value is missing, or the parts' columns differ; the
            message names the column, its first wrong row, and what to do.
    """
    dropped: list[Note] = []
    if rules.arrays and rules.missing == "drop":
        parts, dropped = drop_from_arrays(parts)
    frames = {name: _view_table(part.x, rules) for name, part in parts.items()}
    tables = {name: frame for name, frame in frames.items() if frame is not None}
    if not tables:
        if rules.arrays:
            refuse_missing_in_arrays(parts, inputs=True)
        return dict(parts), tuple(dropped)
    _check_same(frames)
    read = {n: _read_table(t, f"{n}, " if len(parts) > 1 else "", rules) for n, t in tables.items()}
    _check_same_kinds(read)
    whole = pd.concat(read.values(), ignore_index=True)
    notes = [*dropped, *(impute(whole) if rules.missing == "impute" else ()), *_list_notes(whole)]
    if rules.arrays:
        refuse_missing_in_arrays(parts, inputs=False)
    made = {
        name: replace(part, x=_fill(read[name])) if isinstance(part.x, pd.DataFrame) else part
        for name, part in parts.items()
    }
    return made, tuple(notes)


def _view_table(x: Any, rules: TableRules) -> pd.DataFrame | None:
    """Inputs as a table; None if they are something else."""
    if isinstance(x, pd.DataFrame):
        return x
    is_table = rules.arrays and isinstance(x, np.ndarray) and x.ndim == 2
    return pd.DataFrame(x) if is_table else None


def _check_same(frames: Mapping[str, pd.DataFrame | None]) -> None:
    """Check that all parts are tables of the same columns.

    Raises:
        DataError: they are not, or a name occurs twice.
    """
    (first, train), *others = frames.items()
    for name, frame in frames.items():
        if frame is None or train is None:
            table, other = (first, name) if frame is None else (name, first)
            raise DataError(f"{table} is a table, and {other} is not; give one kind of inputs")
        twice = frame.columns[frame.columns.duplicated()]
        if len(twice):
            raise DataError(f"{name} has two columns {twice[0]!r}; rename or remove one")
    for name, frame in others:
        assert train is not None
        assert frame is not None
        ours, theirs = [*map(str, train.columns)], [*map(str, frame.columns)]
        lacking, new = [c for c in ours if c not in theirs], [c for c in theirs if c not in ours]
        if lacking or new:
            raise DataError(
                f"{first} and {name} have different columns: {list_some(lacking + new)} in only one"
            )
        if ours != theirs:
            raise DataError(f"the columns of {first} and {name} are in different orders")


def _read_table(frame: pd.DataFrame, part: str, rules: TableRules) -> pd.DataFrame:
    """The table with columns of numbers and of text, in which values may be missing."""
    table = frame.rename(columns=str)
    if not rules.categories and _is_plain(table):
        return table
    made: dict[str, Any] = {}
    refuse_infinite(table, part)
    for name in map(str, table):
        column = table[name]
        is_declared = name in rules.categories
        kind = ColumnKind.CATEGORY if is_declared else find_kind(column, part, rules.remedies)
        made[name] = _to_numbers(column) if kind is ColumnKind.NUMBER else _to_texts(column)
    if rules.missing != "impute":
        refuse_missing(table, part, rules.remedies)
    return pd.DataFrame(made, index=table.index)


def _is_plain(table: pd.DataFrame) -> bool:
    """Whether a table has numbers of one type of NumPy's only, all of them finite: a fast path."""
    kinds = set(table.dtypes)
    if len(kinds) != 1 or not isinstance(next(iter(kinds)), np.dtype):
        return False
    values = table.to_numpy()
    return values.dtype.kind in "iuf" and bool(np.isfinite(values).all())


def _to_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """NumPy's own types stay; nullable ones and objects become float64."""
    return (
        column
        if isinstance(column.dtype, np.dtype) and column.dtype != object
        else column.astype(np.float64)
    )


def _to_texts(column: pd.Series[Any]) -> pd.Series[Any]:
    return column.astype(object).map(str, na_action="ignore").astype("str")


def _fill(table: pd.DataFrame) -> pd.DataFrame:
    """The table with missing categories as a category; missing numbers are imputed later."""
    texts = [str(n) for n in table.columns if not pd.api.types.is_numeric_dtype(table[n].dtype)]
    return table.fillna(dict.fromkeys(texts, MISSING)) if texts else table


def _check_same_kinds(tables: Mapping[str, pd.DataFrame]) -> None:
    (first, train), *others = tables.items()
    for name, table in others:
        for column in train:
            kinds = [pd.api.types.is_numeric_dtype(t[column].dtype) for t in (train, table)]
            if kinds[0] != kinds[1]:
                shown = ["numbers" if kind else "text" for kind in kinds]
                raise DataError(
                    f"column {column!r} has {shown[0]} in {first} and {shown[1]} in {name}"
                )


def _list_notes(table: pd.DataFrame) -> Iterator[Note]:
    """Columns that can teach nothing, or that identify rows."""
    constant = [name for name in table if _is_constant(table[name])]
    if constant:
        yield Note("constant", f"{list_some(constant)}: one value in all rows, without effect")
    numbering = [name for name in table if name not in constant and _is_identifier(table[name])]
    if numbering:
        what = f"{list_some(numbering)}: a whole number of its own in every row, and an input"
        yield Note("identifier?", f"{what}; leave out what only names the rows")


def _is_constant(column: pd.Series[Any]) -> bool:
    values = column.to_numpy()
    return bool(len(values)) and bool((values == values[0]).all())


def _is_identifier(column: pd.Series[Any]) -> bool:
    """Whether each row has a whole number of its own, and these are without gaps or so named."""
    if column.dtype.kind not in "iuf" or len(column) < _LEAST or column.isna().any():
        return False
    values = column.to_numpy(np.float64)
    if not (values % 1 == 0).all() or len(np.unique(values)) < len(values):
        return False
    without_gaps = values.max() - values.min() == len(values) - 1
    return bool(without_gaps) or is_name_of_rows(str(column.name))
