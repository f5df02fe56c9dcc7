"""Opens the ``data`` of a spec: reads them once, and sets test rows aside."""

from __future__ import annotations

from collections.abc import Mapping

from trainables.config.data import (
    NO_REDRAW,
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
from trainables.data.called_rows import CalledRows
from trainables.data.columns import take_column
from trainables.data.division import Shares, hold_out, set_test_aside, view
from trainables.data.encoding import guess_task, prepare
from trainables.data.functions import bind
from trainables.data.lazy_rows import open_lazily
from trainables.data.raw import Raw
from trainables.data.rows import DrawnRows, GivenRows, PooledRows, Rows
from trainables.data.splits import Splits, check_overlap
from trainables.data.splitters.base import Draw
from trainables.data.splitters.build import Rule, build_rule
from trainables.errors import DataError


def load(config: DataSource) -> Splits:
    """The search's division: read, split, encode and scale the data.

    Raises:
        DataError: the data cannot be trained on; the message says why and where.
        ContractError: a user-defined function violates the contract.
    """
    return open_rows(config).divide()


def open_rows(config: DataSource) -> Rows:
    """Read the data and set test rows aside.

    Raises:
        DataError: the data cannot be trained on; the message says why and where.
        ContractError: a user-defined function or splitter violates the contract.
    """
    match config:
        case Function():
            return _open_function(config)
        case Digits():
            return _open_whole(sources.read_digits(), config, Task.CLASSIFICATION)
        case BreastCancer():
            return _open_whole(sources.read_breast_cancer(), config, Task.CLASSIFICATION)
        case Mnist5k():
            return _open_whole(sources.read_mnist5k(), config, Task.CLASSIFICATION)
        case FashionMnist():
            return _open_idx(config)
        case Npz():
            parts = sources.read_npz(config.path, config.split.column)
            if "all" in parts:
                return _open_whole(parts["all"], config, config.task)
            return _open_parts(parts, config)
        case Csv():
            return _open_whole(sources.read_csv(config.path, config.target), config, config.task)
        case Parquet():
            table = sources.read_parquet(config.path, config.target)
            return _open_whole(table, config, config.task)
    raise TypeError(f"no loader for {config!r}")


def _open_whole(raw: Raw, config: Whole, task: Task | None) -> Rows:
    if isinstance(config, Npz) and config.redraw == "pooled":
        raise DataError(NO_REDRAW)
    task, rule = task or guess_task(raw.y), build_rule(config.split)
    raw = take_column({"all": raw}, rule, _describe(config))["all"]
    shares = Shares(config.val, config.test)
    rule.splitter.check(view(raw, task), 3 if config.test else 2)
    pool, test = raw, None
    if config.test:
        stay, held = hold_out(rule.splitter, raw, task, config.test, Draw(config.seed))
        pool, test = raw.rows(stay), raw.rows(held)
    return DrawnRows(pool, test, rule.splitter, shares.val_of_rest, config.seed, task)


def _open_idx(config: FashionMnist) -> Rows:
    train, test = sources.read_idx(config.folder)
    task, rule = Task.CLASSIFICATION, build_rule(config.split)
    parts = take_column({"train": train, "test": test}, rule, _describe(config))
    rule.splitter.check(view(parts["train"], task), 2)
    rows = DrawnRows(parts["train"], parts["test"], rule.splitter, config.val, config.seed, task)
    return rows if config.redraw == "pooled" else GivenRows(rows.divide())


def _open_parts(parts: Mapping[str, Raw], config: Npz) -> Rows:
    rule = build_rule(config.split)
    parts = take_column(parts, rule, _describe(config))
    task = config.task or guess_task(parts["train"].y)
    splits = prepare(parts, task)
    draw = Draw(config.seed)
    aside = _set_aside(parts, rule, task, config.test, draw)
    if config.redraw == "pooled":
        return PooledRows(aside, rule.splitter, config.seed, task)
    return GivenRows(splits if aside is parts else prepare(aside, task))


def _open_function(config: Function) -> Rows:
    function, rule = bind(config), build_rule(config.split)
    called = function.call()
    arrays = {name: part for name, part in called.items() if isinstance(part, Raw)}
    if len(arrays) < len(called):
        return open_lazily(function, called, config.task, rule)
    parts = take_column(arrays, rule, config.name)
    splits = prepare(parts, config.task, keep_numbers=True)
    if not config.allow_overlap:
        check_overlap(splits)
    if function.test_is_ours and function.test and splits.test is not None:
        raise DataError(f"{config.name} returns test rows, so `test` has no effect; leave it out")
    task, gives_test = splits.info.task, splits.test is not None
    aside = _set_aside(parts, rule, task, function.test, Draw(function.seed))
    if config.redraw == "pooled":
        return PooledRows(aside, rule.splitter, function.seed, task, keep_numbers=True)
    if function.varies:
        return CalledRows(function, aside, gives_test, rule, task, config.allow_overlap)
    return GivenRows(splits if aside is parts else prepare(aside, task, keep_numbers=True))


def _set_aside(
    parts: Mapping[str, Raw], rule: Rule, task: Task, share: float, draw: Draw
) -> Mapping[str, Raw]:
    """The parts, with test rows unless they have some or none are wanted."""
    if "test" in parts or not share:
        return parts
    return set_test_aside(parts, rule.splitter, task, share, draw)


def _describe(config: DataSource) -> str:
    return str(config.paths[0]) if config.paths else config.name
