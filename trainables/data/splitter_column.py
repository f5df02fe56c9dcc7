"""The column of a table that a splitter divides by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from search_spaces.unknown_names import did_you_mean
from trainables.data.equal_rows import number_contents
from trainables.data.raw import Array, Raw
from trainables.data.splitters.build import Rule
from trainables.errors import DataError

_SHOWN = 20


def take_column(parts: Mapping[str, Raw], rule: Rule, source: str) -> dict[str, Raw]:
    """The parts with the values that the rule divides by, and without this column as an input.

    A rule that keeps equal samples together divides by a number of their contents.

    Values that a part has already, from an array of an NPZ file, are only read.

    Raises:
        DataError: there is no such column, or its values are missing or cannot be used.
    """
    if rule.splitter.by_contents:
        numbers = number_contents([*parts.values()])
        return {n: replace(p, by=by) for (n, p), by in zip(parts.items(), numbers, strict=True)}
    if rule.column is None:
        return dict(parts)
    found = {n: _separate(part, rule.column, rule, source) for n, part in parts.items()}
    values = [_check_present(part, rule.column, source) for part in found.values()]
    codes = rule.splitter.read(np.concatenate(values), rule.column)
    ends = np.cumsum([len(v) for v in values])[:-1]
    split = np.split(codes, ends)
    return {n: replace(p, by=by) for (n, p), by in zip(found.items(), split, strict=True)}


def _separate(part: Raw, column: str, rule: Rule, source: str) -> Raw:
    if part.by is not None:
        if rule.keeps_column:
            raise DataError(f"{source}: `keep` is for columns of tables; {column!r} is an array")
        return part
    if not isinstance(part.x, pd.DataFrame):
        raise DataError(
            f"{source} has no columns; `by` names a column of a table, or an array of an NPZ file"
        )
    check_column(part.x, column, source)
    rest = part.x if rule.keeps_column else part.x.drop(columns=[column])
    if not len(rest.columns):
        raise DataError(f"{source} has no input but {column!r}; set `keep: true` to use it as one")
    return replace(part, x=rest, by=part.x[column].to_numpy())


def _check_present(part: Raw, column: str, source: str) -> Array:
    values: Array = np.asarray(part.by)
    missing = pd.isna(values)
    if missing.any():
        raise DataError(
            f"{source}: row {int(missing.argmax())} has no {column!r}, by which rows are divided "
            f"({int(missing.sum())} such rows); fill or drop them first"
        )
    return values


def check_column(frame: pd.DataFrame, name: str, source: object) -> None:
    """Check that a table has a column.

    Raises:
        DataError: it has none; the message names the closest one.
    """
    if name not in frame:
        columns = [str(c) for c in frame]
        some = ", ".join(columns[:_SHOWN]) + (", …" if len(columns) > _SHOWN else "")
        raise DataError(
            f"{source} has no column {name!r}{did_you_mean(name, columns)}; its columns: {some}"
        )
