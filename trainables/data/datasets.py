"""Loads the ``data`` of a spec as splits: reads, divides, encodes and scales."""

from __future__ import annotations

from collections.abc import Mapping

from trainables.config.data import (
    BreastCancer,
    Csv,
    DataSource,
    Digits,
    FashionMnist,
    Function,
    Mnist5k,
    Npz,
    Parquet,
    Whole,
)
from trainables.config.data_info import Task
from trainables.data import sources
from trainables.data.division import split_indices
from trainables.data.encoding import Raw, guess_task, prepare
from trainables.data.splits import Splits, check_overlap


def load(config: DataSource) -> Splits:
    """Read, split, encode and scale the data.

    Raises:
        DataError: the data cannot be trained on; the message says why and where.
        ContractError: a user-defined function violates the contract.
    """
    match config:
        case Function():
            splits = prepare(
                sources.call_function(config.name, config.arguments), config.task, keep_numbers=True
            )
            if not config.allow_overlap:
                check_overlap(splits)
            return splits
        case Digits():
            return _split_and_prepare(sources.read_digits(), config, Task.CLASSIFICATION)
        case BreastCancer():
            return _split_and_prepare(sources.read_breast_cancer(), config, Task.CLASSIFICATION)
        case Mnist5k():
            return _split_and_prepare(sources.read_mnist5k(), config, Task.CLASSIFICATION)
        case FashionMnist():
            train, test = sources.read_idx(config.folder)
            parts = _split_rows(train, config.val, 0.0, config.seed, Task.CLASSIFICATION)
            return prepare({**parts, "test": test}, Task.CLASSIFICATION)
        case Npz():
            raw = sources.read_npz(config.path)
            whole = raw.get("all")
            return (
                _split_and_prepare(whole, config, config.task)
                if whole
                else prepare(raw, config.task)
            )
        case Csv():
            return _split_and_prepare(
                sources.read_csv(config.path, config.target), config, config.task
            )
        case Parquet():
            return _split_and_prepare(
                sources.read_parquet(config.path, config.target), config, config.task
            )
    raise TypeError(f"no loader for {config!r}")


def _split_and_prepare(raw: Raw, config: Whole, task: Task | None) -> Splits:
    task = task or guess_task(raw.y)
    return prepare(_split_rows(raw, config.val, config.test, config.seed, task), task)


def _split_rows(raw: Raw, val: float, test: float, seed: int, task: Task) -> Mapping[str, Raw]:
    indices = split_indices(raw.y, task, val=val, test=test, seed=seed)
    named = zip(sources.SPLIT_NAMES, indices, strict=True)
    return {name: raw.rows(rows) for name, rows in named if rows is not None}
