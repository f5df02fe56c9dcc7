"""Reads tables from files: CSV and Parquet, with a header in which every column has its name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trainables.config.data import Csv, Parquet, Table
from trainables.data.column_advice import OF_CSV, OF_PARQUET, Remedies
from trainables.data.column_kinds import is_name_of_rows
from trainables.data.hashing import Hashes, hash_samples
from trainables.data.missing import drop_incomplete
from trainables.data.notes import Note
from trainables.data.raw import Raw
from trainables.data.sources import translate_errors
from trainables.data.splitter_column import check_column
from trainables.data.targets import read_targets
from trainables.errors import DataError

_NAMELESS = "Unnamed: "
_PLAIN = {"i": np.int64, "u": np.uint64, "b": np.bool_}
"""Types of NumPy for nullable ones."""
_SEPARATORS = (";", "\t", "|", ",")


@dataclass(frozen=True)
class Reading:
    """The rows of a file, and what is to be told of how they were read."""

    raw: Raw
    notes: tuple[Note, ...] = ()


def read_table(config: Table) -> Reading:
    """A table with a named target column, or several; without the columns that are excluded.

    Raises:
        DataError: the file does not exist or is no such table, lacks a column, has two of one
            name, or a target is missing.
    """
    frame = _read_parquet(config) if isinstance(config, Parquet) else _read_csv(config)
    wanted = [config.target] if isinstance(config.target, str) else list(config.target)
    _check_names(frame, config, wanted)
    whole = frame
    frame, notes = _leave_out(frame, config, wanted)
    if config.missing == "drop":
        frame, dropped = drop_incomplete(frame, config.path)
        notes = [*notes, *dropped]
    source, remedies = str(config.path), find_remedies(config)
    if not len(frame):
        raise DataError(f"{source} has a header and no rows")
    if not len(frame.columns.difference(wanted)):
        raise DataError(f"{source} has no column for the inputs")
    y = read_targets(frame, wanted, config.task, source, remedies)
    raw = Raw(
        frame.drop(columns=wanted),
        y[:, 0] if isinstance(config.target, str) else y,
        identity=_identify(whole.loc[frame.index], config.exclude),
    )
    return Reading(raw, tuple(notes))


def _identify(frame: pd.DataFrame, excluded: Sequence[str]) -> Hashes:
    """A hash of each row, without columns that only count the rows."""
    counting = [
        column
        for column in map(str, frame)
        if (column.startswith(_NAMELESS) or column in excluded or is_name_of_rows(column))
        and numbers_rows(frame[column])
    ]
    telling = frame.drop(columns=counting) if len(counting) < len(frame.columns) else frame
    objects = {c: str for c in telling if telling[c].dtype.kind == "O"}
    return hash_samples(telling.astype(objects))


def _read_csv(config: Table) -> pd.DataFrame:
    assert isinstance(config, Csv)
    path, missing = config.path, config.missing_values
    options: dict[str, Any] = {
        "sep": config.separator,
        "encoding": config.encoding,
        "skipinitialspace": True,
    }
    with translate_errors(path, "a CSV file"), warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # of values without a name
        try:
            header = pd.read_csv(path, header=None, nrows=1, dtype=str, na_filter=False, **options)
            _check_header(header.iloc[0].tolist(), config)
            frame: pd.DataFrame = pd.read_csv(
                path,
                decimal=config.decimal,
                thousands=config.thousands,
                keep_default_na=missing is None,
                na_values=None if missing is None else ["", *missing],
                low_memory=False,
                index_col=False,
                **options,
            )
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path} cannot be read as {config.encoding} (byte {error.start}); set `encoding`, "
                "for example to latin-1 or cp1252"
            ) from None
        except pd.errors.ParserWarning:
            raise DataError(f"{path}: a row has more values than the header has names") from None
    return frame


def _check_header(header: list[str], config: Csv) -> None:
    """Check the names as they are in the file: pandas makes `a.1` of a second `a`."""
    names = [name for name in header if name]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(_describe_twice(config.path, twice))
    if names and all(map(_is_number, names)):
        raise DataError(
            f"{config.path} has no header: its first row is {', '.join(names[:5])}; add a row with "
            "the names of the columns"
        )
    if len(header) == 1:
        other = next((s for s in _SEPARATORS if s in header[0]), None)
        if other is not None:
            raise DataError(
                f"{config.path} has one column, {header[0][:60]!r}; set `separator: {other!r}`"
            )


def _describe_twice(source: object, name: object) -> str:
    return f"{source} has two columns {name!r}; rename or remove one"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_parquet(config: Table) -> pd.DataFrame:
    try:
        import pyarrow  # noqa: F401  # only to report how to install it
    except ImportError:
        raise DataError("Parquet needs pyarrow: pip install 'gapsweep[parquet]'") from None
    with translate_errors(config.path, "a Parquet file"):
        frame: pd.DataFrame = pd.read_parquet(config.path)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(_describe_twice(config.path, twice[0]))
    frame.columns = frame.columns.map(str)
    return frame.reset_index(drop=True)


def _check_names(frame: pd.DataFrame, config: Table, targets: list[str]) -> None:
    by = [config.split.column] if config.split.column else []
    for name in (*targets, *by, *config.exclude, *config.categories):
        check_column(frame, name, config.path)
    for name in targets:
        if name in config.exclude:
            raise DataError(f"{config.path}: {name!r} is the target; it cannot be excluded")
        if name in by:
            raise DataError(f"{config.path}: {name!r} is the target; rows are divided by another")
    if len(set(targets)) < len(targets):
        raise DataError(f"{config.path}: a target is named twice")


def _leave_out(
    frame: pd.DataFrame, config: Table, targets: list[str]
) -> tuple[pd.DataFrame, list[Note]]:
    """The table without the excluded columns, and without nameless ones that say nothing."""
    kept = {*targets, config.split.column}
    excluded = [name for name in config.exclude if name not in kept]
    notes = [Note("left out", f"{name!r}, by `exclude`") for name in excluded]
    names = map(str, frame)
    nameless = [c for c in names if c.startswith(_NAMELESS) and c not in (*kept, *excluded)]
    for name in nameless:
        number = list(frame).index(name) + 1
        if frame[name].isna().all():
            notes.append(Note("left out", f"column {number}, which has neither name nor values"))
        elif numbers_rows(frame[name]):
            notes.append(
                Note("left out", f"column {number}, which has no name and numbers the rows")
            )
        else:
            raise DataError(
                f"{config.path}: column {number} has no name; give it one, or leave it out with "
                f"`exclude: [{name!r}]`"
            )
    return frame.drop(columns=[*excluded, *nameless]), notes


def numbers_rows(values: pd.Series) -> bool:
    """Whether a column counts the rows, from 0, 1 or any other number on."""
    if not pd.api.types.is_integer_dtype(values.dtype) or not len(values) or values.isna().any():
        return False
    numbers = values.to_numpy(np.int64)
    return bool((np.diff(numbers) == 1).all())


def find_remedies(config: Table) -> Remedies:
    """What a person can do about a column of this file."""
    return OF_PARQUET if isinstance(config, Parquet) else OF_CSV
