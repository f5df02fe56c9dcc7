"""The input columns that the pick keeps, as lines of text and as a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import groupby

from service.sweep.inspection import STABLE_SHARE, ColumnShare, InputColumns

COLUMNS_NOTE = (
    "A training keeps a column if some weight out of it is not zero. The share of trainings that "
    "keep it is its selection frequency (Meinshausen & Bühlmann 2010), here over new seeds and "
    "divisions in place of halves of the samples."
)
_NAMED = 24
"""Columns of one share that are named in the terminal."""


def describe_columns(found: InputColumns) -> str:
    """In one sentence what there is to say where no column is ever dropped; empty otherwise."""
    if found.reason:
        return f"Not known: {found.reason}."
    if not found.left_out and all(column.share == 1 for column in found.columns):
        each = "training" if found.trainings == 1 else f"of {found.trainings} trainings"
        return f"The pick keeps every column ({found.count:,}) in each {each}."
    return ""


def describe_stable(found: InputColumns) -> str:
    """How many columns are stable, in one sentence; empty where one training says nothing of it."""
    if found.trainings < 2:
        return ""
    if found.one_division:
        return (
            "Which columns are stable is not known: all trainings had the same rows. Let the data "
            "function take `seed`, or name a file or a source, for new divisions."
        )
    least = f"at least {100 * STABLE_SHARE:.0f} % of the pick's {found.trainings} trainings"
    stable = f"Stable columns, kept by {least}: {len(found.stable):,} of {found.count:,}."
    return f"{stable} {_describe_early_end(found)}".rstrip()


def _describe_early_end(found: InputColumns) -> str:
    """What early stopping means for the columns; empty where it ended no training."""
    if not found.ended_early:
        return ""
    return (
        f"Early stopping ended {found.ended_early} of the trainings: a column that the full "
        "training would drop may still have a small weight. `early_stopping: off` trains to the "
        "last epoch and usually keeps fewer columns."
    )


def list_column_groups(found: InputColumns) -> Iterator[tuple[str, str]]:
    """Columns by how many of the pick's trainings keep them, those of most trainings first."""
    for share, columns in groupby(found.columns, key=lambda column: column.share):
        kept = f"{round(share * found.trainings)} of {found.trainings}"
        yield kept, _name([*columns])
    if found.left_out:
        yield "others", f"{found.left_out:,} columns"


def write_columns(found: InputColumns) -> str:
    """All columns with their shares as CSV."""
    file = StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("column", "share", "trainings", "stable"))
    stable = frozenset(found.stable)
    table.writerows(
        (c.name, f"{c.share:.4f}", found.trainings, "yes" if c.name in stable else "no")
        for c in found.columns
    )
    return file.getvalue()


def _name(columns: Sequence[ColumnShare]) -> str:
    more = len(columns) - _NAMED
    names = ", ".join(column.name for column in columns[:_NAMED])
    return f"{names} and {more:,} more" if more > 0 else names
