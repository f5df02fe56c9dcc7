"""All samples that are not test samples as one training split, and raw samples beside encoded ones.

A network that is trained again when nothing is left to choose uses the validation samples too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Dataset, Subset

from trainables.config.data import DataSource
from trainables.data.called_rows import CalledRows
from trainables.data.datasets import open_rows
from trainables.data.division import choose_validation
from trainables.data.encoding import prepare
from trainables.data.lazy import LazySplit, StreamSplit, find_view
from trainables.data.lazy_rows import LazyRows
from trainables.data.nests import Nest
from trainables.data.raw import Raw, join
from trainables.data.rows import DrawnRows, GivenRows, PooledRows, Rows
from trainables.data.splits import Splits
from trainables.data.splitters.base import Draw
from trainables.errors import DataError


def keep_raw(config: DataSource, rows: Rows) -> Rows:
    """The same rows with their samples as they were read; reads the data again if need be.

    Raises:
        DataError, ContractError: as :func:`trainables.data.datasets.open_rows`.
    """
    if not isinstance(rows, GivenRows):
        return rows
    return open_rows(config.model_copy(update={"redraw": "pooled", "allow_overlap": True}))


def merge(rows: Rows) -> Splits:
    """Splits whose training split has all samples that are not test samples.

    Everything that is fitted on training samples (scales, categories, classes) is fitted on all of
    them. The validation split is that of the search, whose samples are trained on too: what is
    measured there says nothing about new samples. ``rows`` are those of :func:`keep_raw`; ``notes``
    of the splits say what is special about their merging.

    Raises:
        DataError: they are a stream, or have an order of their own.
    """
    match rows:
        case LazyRows():
            return _merge_lazy(rows)
        case DrawnRows():
            _, held = choose_validation(
                rows.splitter, rows.pool, rows.task, rows.share, Draw(rows.seed)
            )
            parts = {"train": rows.pool, "val": rows.pool.rows(held)}
            return _prepare(rows, parts, rows.test)
        case PooledRows() | CalledRows():
            given = rows.parts if isinstance(rows, PooledRows) else rows.first
            parts = {"train": join([given["train"], given["val"]]), "val": given["val"]}
            return _prepare(rows, parts, given.get("test"))
    raise TypeError(f"no raw samples in {type(rows).__name__}")


def take_raw(rows: Rows, count: int, *, merged: bool) -> Nest | None:
    """Raw inputs of the first training samples, of the search's division or of all samples.

    They are a table, or a nest of arrays; None where the network takes them as they come.
    """
    match rows:
        case DrawnRows():
            stay, _ = choose_validation(
                rows.splitter, rows.pool, rows.task, rows.share, Draw(rows.seed)
            )
            positions = np.arange(len(rows.pool)) if merged else stay
            return rows.pool.rows(positions[:count]).x
        case PooledRows() | CalledRows():
            given = rows.parts if isinstance(rows, PooledRows) else rows.first
            train = join([given["train"], given["val"]]) if merged else given["train"]
            return train.rows(np.arange(min(count, len(train)))).x
    return None


def _prepare(
    rows: DrawnRows | PooledRows | CalledRows, parts: dict[str, Raw], test: Raw | None
) -> Splits:
    keeps = isinstance(rows, CalledRows) or rows.keep_numbers
    given = parts if test is None else {**parts, "test": test}
    return prepare(given, rows.task, keep_numbers=keeps)


def _merge_lazy(rows: LazyRows) -> Splits:
    splits, path = rows.first, rows.function.path
    train, val = splits.train, splits.val
    if isinstance(train, StreamSplit) or isinstance(val, StreamSplit):
        raise DataError(
            f"{path} returns a stream, which has an order of its own, so that validation samples "
            "cannot be mixed into it; return a Dataset with a length"
        )
    assert isinstance(train, LazySplit)
    assert isinstance(val, LazySplit)
    if train.loading.sampler is not None:
        raise DataError(
            f"{path} returns a DataLoader with a sampler of its own, which draws training samples "
            "only, so that validation samples cannot be trained on; return a Dataset"
        )
    as_trained = _find_as_trained(train, val)
    merged = replace(
        train,
        dataset=ConcatDataset([train.dataset, as_trained or val.dataset]),
        view=None if train.view is None else ConcatDataset([train.view, val.view or val.dataset]),
    )
    notes: tuple[str, ...] = ()
    if train.varies and not val.varies and as_trained is None:
        notes = ("the validation samples are read without the transforms of the training",)
    return replace(splits, train=merged, notes=notes)


def _find_as_trained(train: LazySplit, val: LazySplit) -> Dataset[Any] | None:
    """The validation samples with the transforms of the training samples.

    They are found where both are positions of one dataset, which has a view for evaluation.
    """
    ours, theirs = train.dataset, val.dataset
    if not isinstance(ours, Subset) or not isinstance(theirs, Subset):
        return None
    if theirs.dataset is ours.dataset or theirs.dataset is not find_view(ours.dataset):
        return None
    return Subset(ours.dataset, theirs.indices)
