"""Which columns of a table are numbers and which are categories; others are refused.

A column of text is categories, unless its texts look like something else: numbers with a few
strays, numbers with commas, dates, identifiers or free text.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection
from decimal import Decimal
from enum import Enum
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from trainables.data.column_advice import Remedies
from trainables.data.notes import list_some
from trainables.errors import DataError

_NAME_OF_ROWS = re.compile(r"(.*[_ ])?(id|index|uuid|guid|key|nr|no|number|row)", re.IGNORECASE)
_SAMPLED = 200
_FEW = 20
"""Different numbers that may be codes."""
_MANY = 1000
"""Categories that are too many in any table."""
_DIGITS = 15
"""Digits of a whole number that float64 keeps."""
_MARKERS = {"", "na", "n/a", "nan", "null", "nil", "none", "missing", "unknown", "unk"}
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})( .*)?"
    r"|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?"
    r"|.*\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?[ ,-]+.*\d.*"
    r"|\d{1,2}\.?[ -](jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?([ ,-].*)?",
    re.IGNORECASE,
)
_MARKED = (
    (
        re.compile(r"[-+]?\d+(,\d+)+(\.\d+)?|[-+]?\d+(\.\d{3})*,\d+"),
        "numbers with commas",
    ),
    (
        re.compile(r"[-+]?\d{1,3}([ '\u2019\u00a0\u202f]\d{3})+([.,]\d+)?"),
        "numbers whose digits are grouped",
    ),
    (
        re.compile(r"[-+]?\s?[$€£¥]\s?[-+]?\d[\d,.]*|[-+]?\d[\d,.]*\s?[$€£¥%]"),
        "numbers with a unit",
    ),
)
_TIMES = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    np.datetime64,
    np.timedelta64,
    pd.Period,
)


class ColumnKind(Enum):
    """How a column becomes inputs."""

    NUMBER = "number"
    CATEGORY = "category"


def find_kind(column: pd.Series[Any], part: str, remedies: Remedies) -> ColumnKind:
    """The kind of a column, whose missing values are ignored.

    Raises:
        DataError: it is neither numbers nor categories; the message names rows and what to do.
    """
    dtype, name = column.dtype, column.name
    if isinstance(dtype, pd.CategoricalDtype):
        return ColumnKind.CATEGORY
    if not pd.api.types.is_numeric_dtype(dtype) and holds_times(column):
        raise DataError(_describe_dates(column, part, remedies))
    if dtype.kind == "c":
        raise DataError(f"{part}column {name!r} has complex numbers; give two columns of floats")
    if pd.api.types.is_numeric_dtype(dtype):
        return ColumnKind.NUMBER
    values = column.dropna()
    kinds = find_types(values)
    if are_numbers(kinds):
        _refuse_large(values, part, remedies)
        return ColumnKind.NUMBER
    if any(not issubclass(kind, str) for kind in kinds):
        row, value = next((i, v) for i, v in values.items() if not isinstance(v, str))
        raise DataError(
            f"{part}column {name!r} has text or objects beside others: row {row} is {value!r}, of "
            f"type {type(value).__name__}; a column is all numbers or all text"
        )
    _check_texts(values, part, remedies)
    return ColumnKind.CATEGORY


def is_name_of_rows(name: str) -> bool:
    """Whether a column's name is one of identifiers."""
    return _NAME_OF_ROWS.fullmatch(name) is not None


def find_types(values: pd.Series[Any]) -> set[type]:
    """The types of values, none of which is missing."""
    return {type(value) for value in values} if values.dtype.kind == "O" else {str}


def are_numbers(kinds: Collection[type]) -> bool:
    """Whether all of some types are those of numbers or booleans."""
    return bool(kinds) and all(issubclass(kind, Number | Decimal | np.bool_) for kind in kinds)


def holds_times(column: pd.Series[Any]) -> bool:
    """Whether a column has dates, times or durations, also as text."""
    if column.dtype.kind in "mM" or isinstance(column.dtype, pd.PeriodDtype | pd.IntervalDtype):
        return True
    values = column.dropna()
    kinds = find_types(values)
    if any(issubclass(kind, _TIMES) for kind in kinds):
        return True
    if kinds != {str} or not len(values):
        return False
    sample = values.drop_duplicates().head(_SAMPLED)
    return bool(sample.str.strip().str.fullmatch(_DATE).mean() >= 0.8)


def check_labels(texts: pd.Series[Any], part: str, remedies: Remedies) -> None:
    """Check that text targets are classes, and not numbers with a few strays.

    Raises:
        DataError: they look like numbers.
    """
    numbers = pd.to_numeric(texts, errors="coerce")
    strays = texts[numbers.isna()]
    if strays.map(_is_marker).any() or numbers.nunique() > _FEW:
        _refuse_strays(texts, part, remedies)
    if texts.nunique() > _FEW:
        _refuse_marks(texts, part, remedies)


def _check_texts(texts: pd.Series[Any], part: str, remedies: Remedies) -> None:
    if not len(texts):
        return
    if texts.map(_is_marker).all():
        raise DataError(
            f"{part}column {texts.name!r} has no values but {texts.iloc[0]!r}: "
            f"{remedies.say_leave_out(texts.name)}"
        )
    _refuse_marks(texts, part, remedies)
    _refuse_strays(texts, part, remedies)
    _refuse_different(texts, part, remedies)


def _describe_dates(column: pd.Series[Any], part: str, remedies: Remedies) -> str:
    name, first = column.name, str(column.dropna().iloc[0])
    return (
        f"{part}column {name!r} has dates or times ({first!r}), which are not inputs: "
        f"{remedies.say_leave_out(name)}, divide the rows by it with `split: {{name: time, by: "
        f"{name}}}`, or put numbers in its place, such as days since the first one, or the month"
    )


def _refuse_marks(texts: pd.Series[Any], part: str, remedies: Remedies) -> None:
    """Refuse numbers that are text because of a comma, a space or a unit in them."""
    plain = pd.to_numeric(texts, errors="coerce").notna()
    for pattern, what in _MARKED:
        marked = texts.str.strip().str.fullmatch(pattern)
        if marked.mean() > 0.1 and (marked | plain).mean() >= 0.9:
            row, value = next(iter(texts[marked].items()))
            remedy = "give the numbers alone" if "unit" in what else remedies.commas
            raise DataError(
                f"{part}column {texts.name!r} has {what}: row {row} is {value!r}; "
                f"{remedy}, or, if they are categories, {remedies.say_category(texts.name)}"
            )


def _refuse_strays(texts: pd.Series[Any], part: str, remedies: Remedies) -> None:
    numbers = pd.to_numeric(texts, errors="coerce")
    found = numbers.notna()
    strays = texts[~found]
    if not found.any():
        return
    if strays.empty:
        _refuse_large(texts, part, remedies)
        raise DataError(
            f"{part}column {texts.name!r} has numbers as text, such as {texts.iloc[0]!r}; make it "
            f"one of numbers, or, if they are categories, {remedies.say_category(texts.name)}"
        )
    codes = numbers.nunique() <= _FEW and not strays.map(_is_marker).any()
    if codes and strays.str.contains(r"\d").all():
        return
    share = max(found.mean(), numbers.nunique() / texts.nunique())
    if share >= 0.5:
        rows = list_some([f"row {i} is {v!r}" for i, v in strays.head(5).items()], 5)
        raise DataError(
            f"{part}column {texts.name!r} has numbers, but for {len(strays):,} of {len(texts):,} "
            f"values: {rows}; {remedies.stray}, or, if they are categories, "
            f"{remedies.say_category(texts.name)}"
        )


def _is_marker(text: str) -> bool:
    """Whether a text is a common one for a missing value: such a word, or only signs."""
    plain = text.strip().strip("<>()[]{}").lower()
    return plain in _MARKERS or not any(c.isalnum() for c in plain)


def _refuse_large(values: pd.Series[Any], part: str, remedies: Remedies) -> None:
    """Refuse different numbers that are the same as float64."""
    numbers = pd.to_numeric(values.astype(str), errors="coerce").astype(np.float64)
    longest = values.astype(str).str.len().max()
    if longest > _DIGITS and numbers.nunique() < values.nunique():
        raise DataError(
            f"{part}column {values.name!r} has numbers of too many digits to tell them apart, such "
            f"as {values.iloc[0]}: {remedies.say_leave_out(values.name)}, if they are identifiers, "
            f"or, if they are categories, {remedies.say_category(values.name)}"
        )


def _refuse_different(texts: pd.Series[Any], part: str, remedies: Remedies) -> None:
    """Refuse identifiers and free text, of which each value would be an input of its own."""
    different, rows = texts.nunique(), len(texts)
    if different > _MANY or (different > _FEW // 2 and different > rows / 2):
        some = list_some([repr(v) for v in texts.head(3)], 3)
        raise DataError(
            f"{part}column {texts.name!r} has {different:,} different texts in {rows:,} rows "
            f"({some}, …), and each would be an input of its own: if it is an identifier or free "
            f"text, {remedies.say_leave_out(texts.name)}; if they are categories, "
            f"{remedies.say_category(texts.name)}"
        )
