"""How the features of an encoded table belong to the columns of the user's table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.data.missing import MISSING
from trainables.data.preprocessing import Column, Preprocessing


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table in the user's order, and for each feature of a network's inputs:

    Attributes:
        names: the columns' names.
        owner: the position of the column that it encodes, ``(features,)``.
        fill: its value where the column is missing, as the preprocessing fills it, ``(features,)``.
        numeric: whether it is a number, and not the indicator of a category, ``(features,)``.
    """

    names: tuple[str, ...]
    owner: Tensor
    fill: Tensor
    numeric: Tensor


def read_columns(preprocessing: Preprocessing) -> TableColumns | None:
    """The columns of a table as it was encoded, numbers first; None of other inputs."""
    columns = list(enumerate(preprocessing.columns))
    if not columns:
        return None
    numbers = [(i, c) for i, c in columns if c.categories is None]
    owner, fill = [i for i, _ in numbers], [(c.fill - c.mean) / c.scale for _, c in numbers]
    for i, column in columns:
        filled = _fill_categories(column)
        owner += [i] * len(filled)
        fill += filled
    numeric = torch.arange(len(owner)) < len(numbers)
    names = tuple(c.name for _, c in columns)
    return TableColumns(names, torch.tensor(owner), torch.tensor(fill), numeric)


def name_columns(count: int, fill: Tensor) -> TableColumns:
    """The columns of an array ``(N, count)``, which have no names, with a ``fill`` for each."""
    names = tuple(f"x[:, {i}]" for i in range(count))
    return TableColumns(names, torch.arange(count), fill, torch.ones(count, dtype=torch.bool))


def _fill_categories(column: Column) -> list[float]:
    """A missing category is one of its own, if there was one in training, else an unknown one."""
    return [float(category == MISSING) for category in column.categories or ()]
