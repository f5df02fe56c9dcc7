"""How data were read, in a few lines: what a person has to see to find a wrong guess."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainables.config.data import DataSource
from trainables.config.data_info import Kind, Task
from trainables.config.splitters import SplitterConfig
from trainables.data.called_rows import CalledRows
from trainables.data.lazy_rows import LazyRows
from trainables.data.nests import Nest, describe_nest, map_nest
from trainables.data.notes import Note, count, list_some
from trainables.data.preprocessing import Column, Preprocessing
from trainables.data.rows import PooledRows, Rows
from trainables.data.splits import Split, Splits


def describe_data(
    config: DataSource, rows: Rows, splits: Splits, folds: int | None = None
) -> tuple[Note, ...]:
    """Inputs, targets, task and division, the search's into ``folds`` too, and the source's notes.

    ``splits`` are the search's.
    """
    return tuple(_list_notes(config, rows, splits, folds))


def _list_notes(
    config: DataSource, rows: Rows, splits: Splits, folds: int | None
) -> Iterator[Note]:
    yield Note("inputs", _describe_inputs(splits))
    yield Note("targets", _describe_targets(splits))
    yield Note("task", _describe_task(config, splits))
    yield Note("division", _describe_division(config, rows))
    if folds is not None:
        yield Note("folds", _describe_folds(config, rows, folds))
    yield from (Note("samples", text) for text in splits.notes)
    yield from rows.notes


def _describe_inputs(splits: Splits) -> str:
    made = splits.preprocessing
    if made.columns:
        return _describe_columns(made.columns)
    scaled = "as they came" if made.divisor == 1 else f"divided by {made.divisor:g}"
    kind = "" if splits.info.kind is Kind.OTHER else f"{splits.info.kind}, "
    train = splits.train
    if not isinstance(train, Split):
        return f"{kind}samples of shape {splits.info.input_shape}, as they came"
    return f"{kind}{_describe_sample(train.head(1).x)}, {scaled}"


def _describe_sample(nest: Nest) -> str:
    """Type and shape of one sample, of arrays with one."""
    return describe_nest(map_nest(lambda leaf: leaf.reshape(leaf.shape[1:]), nest))


def _describe_columns(columns: tuple[Column, ...]) -> str:
    words = [column for column in columns if column.categories is not None]
    numbers = len(columns) - len(words)
    inputs = numbers + sum(len(c.categories or ()) for c in words)
    parts = [f"{count(numbers, 'number')}, standardised"] if numbers else []
    if words:
        sizes = list_some([f"{c.name} ({len(c.categories or ())})" for c in words])
        kinds = "category" if len(words) == 1 else "categories"
        parts.append(f"{len(words)} {kinds}, one-hot: {sizes}")
    return f"table of {count(len(columns), 'column')}, {count(inputs, 'input')}: {'; '.join(parts)}"


def _describe_targets(splits: Splits) -> str:
    train, info, made = splits.train, splits.info, splits.preprocessing
    if info.task is Task.REGRESSION:
        return _describe_numbers(info.outputs, made)
    if info.task is Task.MULTILABEL:
        return f"{count(info.outputs, 'label')} of 0 and 1"
    if not isinstance(train, Split):
        return f"{info.outputs} classes" if info.task is Task.CLASSIFICATION else "as they came"
    y = train.y
    if info.task is Task.CLASSIFICATION and isinstance(y, np.ndarray) and y.size == len(y):
        return _describe_classes(splits)
    return f"{_describe_sample(train.head(1).y)} for a sample, as they came"


def _describe_numbers(outputs: int, made: Preprocessing) -> str:
    if not made.target_scale:
        return f"{count(outputs, 'number')} for a sample, as they came"
    pairs = zip(made.target_mean, made.target_scale, strict=True)
    scales = list_some([f"mean {mean:.6g}, deviation {scale:.3g}" for mean, scale in pairs], 4)
    return f"{count(outputs, 'number')} for a sample, standardised ({scales})"


def _describe_classes(splits: Splits) -> str:
    y = np.concatenate([split.y.reshape(-1) for _, split in splits.list_arrays()])
    numbers, sizes = np.unique(y, return_counts=True)
    names = splits.preprocessing.classes
    known = [names[int(n)] if int(n) < len(names) else n for n in numbers]
    rows = [f"{name} ({size:,})" for name, size in zip(known, sizes.tolist(), strict=True)]
    unused = [str(n) for n in range(splits.info.outputs) if n not in set(numbers.tolist())]
    lacking = f"; no sample of {list_some(unused)}" if unused else ""
    return f"{splits.info.outputs} classes: {list_some(rows)}{lacking}"


def _describe_task(config: DataSource, splits: Splits) -> str:
    task = splits.info.task
    if "task" not in type(config).model_fields:
        return task.value
    if getattr(config, "task", None) is not None:
        return f"{task}, as `task` says"
    return f"{task}, guessed: {_explain(splits)}"


def _explain(splits: Splits) -> str:
    """Why targets were read as this task, and what to set if that is wrong."""
    task, classes = splits.info.task, splits.preprocessing.classes
    in_memory = isinstance(splits.train, Split)
    if task is Task.CLASSIFICATION and in_memory and classes and isinstance(classes[0], str):
        return "the targets are text"
    if task is Task.CLASSIFICATION and classes and isinstance(classes[0], bool):
        return "the targets are booleans"
    if task is Task.CLASSIFICATION:
        return "the targets are whole numbers; if they are amounts, set `task: regression`"
    if task is Task.MULTILABEL:
        return f"the targets are columns of 0 and 1{_doubt_labels(splits.train)}"
    if task is Task.REGRESSION:
        return "the targets are floats; if they are classes, set `task: classification`"
    return "the targets are several arrays; the loss is yours"


def _doubt_labels(train: object) -> str:
    """A hint where labels may be one-hot classes: each sample has exactly one."""
    if not isinstance(train, Split) or not (train.y.sum(axis=1) == 1).all():
        return ""
    return "; each sample has one 1: if they are classes, give their numbers, `y.argmax(axis=1)`"


def _describe_folds(config: DataSource, rows: Rows, folds: int) -> str:
    split = getattr(config, "split", None)
    if isinstance(rows, CalledRows | LazyRows) or not isinstance(split, SplitterConfig):
        made = f"the function's first {folds}"
    else:
        by = f" by {split.column}" if split.column else ""
        made = f"{folds} of the samples that are not the test's, {split.name}{by}"
    return f"{made}: each trial of the search is trained on every one, and judged by their mean"


def _describe_division(config: DataSource, rows: Rows) -> str:
    split = getattr(config, "split", None)
    if not rows.redraws or not isinstance(split, SplitterConfig):
        return "as they came, the same in every replicate"
    if isinstance(rows, CalledRows | LazyRows):
        return "by the function; every replicate calls it anew"
    by = f" by {split.column}" if split.column else ""
    if split.fold_count:
        rule = f"{split.fold_count} folds, {split.name}{by}"
        return f"{rule}: the search validates on the first, every replicate on another"
    first = "as they came for the search; " if isinstance(rows, PooledRows) else ""
    return f"{first}{split.name}{by}, anew for every replicate"
