"""Opens the ``data`` of a spec: reads them once, and sets test rows aside."""

from __future__ import annotations

from collections.abc import Mapping

from trainables.config.data import (
    NO_REDRAW,
    BreastCancer,
    DataSource,
    Digits,
    FashionMnist,
    Function,
    Mnist5k,
    Npz,
    Redraw,
    Table,
    Whole,
)
from trainables.config.data_info import Task
from trainables.data import sources
from trainables.data.called_rows import CalledRows
from trainables.data.column_advice import OF_ARRAYS
from trainables.data.data_functions import bind
from trainables.data.division import Shares, hold_out, set_test_aside, view
from trainables.data.encoding import prepare
from trainables.data.equal_rows import refuse_equal_rows
from trainables.data.inputs import OF_FUNCTIONS, TableRules, read_inputs
from trainables.data.lazy_rows import open_lazily
from trainables.data.notes import Note
from trainables.data.raw import Raw, join
from trainables.data.rows import DrawnRows, GivenRows, PooledRows, Rows
from trainables.data.splits import Splits, check_overlap
from trainables.data.splitter_column import take_column
from trainables.data.splitters.base import Draw
from trainables.data.splitters.build import Rule, build_rule
from trainables.data.table_files import find_remedies, read_table
from trainables.data.tasks import guess_task
from trainables.errors import DataError, locate


def load(config: DataSource | None) -> Splits:
    """The search's division: read, split, encode and scale the data.

    Raises:
        DataError: the data cannot be trained on; the message says why and where.
        ContractError: a user-defined function violates the contract.
    """
    return open_rows(config).divide()


def open_rows(config: DataSource | None) -> Rows:
    """Read the data and set test rows aside.

    Raises:
        DataError: the data cannot be trained on; the message says why and where.
        ContractError: a user-defined function or splitter violates the contract.
    """
    match config:
        case None:
            raise DataError("the spec names no `data`")
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
            return _open_npz(config)
        case Table():
            return _open_table(config)
    raise TypeError(f"no loader for {config!r}")


def _open_table(config: Table) -> Rows:
    reading = read_table(config)
    rules = TableRules(find_remedies(config), config.categories, config.missing)
    return _open_whole(reading.raw, config, config.task, rules, reading.notes)


def _open_npz(config: Npz) -> Rows:
    parts = sources.read_npz(config.path, config.split.column)
    rules = TableRules(OF_ARRAYS, missing=config.missing, arrays=True)
    if "all" not in parts:
        return _open_parts(parts, config, rules)
    if config.redraw == "pooled":
        raise DataError(NO_REDRAW)
    return _open_whole(parts["all"], config, config.task, rules)


def _open_whole(
    raw: Raw,
    config: Whole,
    task: Task | None,
    rules: TableRules | None = None,
    notes: tuple[Note, ...] = (),
) -> Rows:
    rule, source = build_rule(config.split), _describe(config)
    raw = take_column({"all": raw}, rule, source)["all"]
    if rules is not None:
        with locate(source):
            read, more = read_inputs({"all": raw}, rules)
        raw, notes = read["all"], (*notes, *more)
    task = task or guess_task(raw.y)
    shares = Shares(config.val, config.test)
    rule.splitter.check(view(raw, task), 3 if config.test else 2)
    if not (config.allow_overlap or rule.keeps_equal_together):
        refuse_equal_rows(raw, source)
    pool, test = raw, None
    if config.test:
        stay, held = hold_out(rule.splitter, raw, task, config.test, Draw(config.seed))
        pool, test = raw.rows(stay), raw.rows(held)
    share = shares.val_of_rest
    return DrawnRows(pool, test, rule.splitter, share, config.seed, task, notes=notes)


def _open_idx(config: FashionMnist) -> Rows:
    _refuse_idle_folds(config)
    train, test = sources.read_idx(config.folder)
    task, rule = Task.CLASSIFICATION, build_rule(config.split)
    parts = take_column({"train": train, "test": test}, rule, _describe(config))
    if not (config.allow_overlap or rule.keeps_equal_together):
        refuse_equal_rows(join([*parts.values()]), str(config.folder))
    rule.splitter.check(view(parts["train"], task), 2)
    rows = DrawnRows(parts["train"], parts["test"], rule.splitter, config.val, config.seed, task)
    return rows if config.redraw == "pooled" else GivenRows(rows.divide())


def _open_parts(parts: Mapping[str, Raw], config: Npz, rules: TableRules) -> Rows:
    _refuse_idle_folds(config)
    rule, source = build_rule(config.split), _describe(config)
    parts = take_column(parts, rule, source)
    with locate(source):
        parts, notes = read_inputs(parts, rules)
    task = config.task or guess_task(parts["train"].y)
    splits = prepare(parts, task)
    if not config.allow_overlap:
        check_overlap(splits)
        _check_redrawn(parts, rule, source, aside=config.test > 0, redraw=config.redraw)
    aside = _set_aside(parts, rule, task, config.test, Draw(config.seed))
    if config.redraw == "pooled":
        return PooledRows(aside, rule.splitter, config.seed, task, notes=notes)
    return GivenRows(splits if aside is parts else prepare(aside, task), notes=notes)


def _open_function(config: Function) -> Rows:
    function, rule = bind(config), build_rule(config.split)
    _refuse_idle_folds(config)
    called, varies = function.read()
    arrays = {name: part for name, part in called.items() if isinstance(part, Raw)}
    if len(arrays) < len(called):
        return open_lazily(function, called, config, rule, varies=varies)
    with locate(config.name):
        parts, notes = read_inputs(take_column(arrays, rule, config.name), OF_FUNCTIONS)
        splits = prepare(parts, config.task, keep_numbers=True)
    if function.test_is_ours and function.test and splits.test is not None:
        raise DataError(f"{config.name} returns test rows, so `test` has no effect; leave it out")
    if not config.allow_overlap:
        check_overlap(splits)
        more = function.test > 0
        _check_redrawn(parts, rule, config.name, aside=more, redraw=config.redraw)
    task, gives_test = splits.info.task, splits.test is not None
    aside = _set_aside(parts, rule, task, function.test, Draw(function.seed))
    if config.redraw == "pooled":
        return PooledRows(aside, rule.splitter, function.seed, task, keep_numbers=True, notes=notes)
    if varies:
        allowed = config.allow_overlap
        return CalledRows(function, aside, gives_test, rule, task, allowed, notes=notes)
    given = splits if aside is parts else prepare(aside, task, keep_numbers=True)
    return GivenRows(given, notes=notes)


def _refuse_idle_folds(config: Npz | FashionMnist | Function) -> None:
    """Refuse folds of data that are not divided here."""
    if config.split.fold_count and config.redraw == "given":
        raise DataError(
            "`split.folds` has no effect on data that come divided; set `redraw: pooled` to divide "
            "their training and validation samples"
        )


def _check_redrawn(
    parts: Mapping[str, Raw], rule: Rule, source: str, *, aside: bool, redraw: Redraw
) -> None:
    """Check that parts which are divided again have no equal samples within themselves.

    Raises:
        DataError: they have some, and the rule does not keep them together.
    """
    if rule.keeps_equal_together:
        return
    if redraw == "pooled" or (aside and "test" not in parts):
        refuse_equal_rows(join([part for name, part in parts.items() if name != "test"]), source)


def _set_aside(
    parts: Mapping[str, Raw], rule: Rule, task: Task, share: float, draw: Draw
) -> Mapping[str, Raw]:
    """The parts, with test rows unless they have some or none are wanted."""
    if "test" in parts or not share:
        return parts
    return set_test_aside(parts, rule.splitter, task, share, draw)


def _describe(config: DataSource) -> str:
    return str(config.paths[0]) if config.paths else config.name
