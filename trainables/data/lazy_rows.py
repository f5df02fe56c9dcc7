"""Rows of a data function that returns a ``Dataset``, a stream or a ``DataLoader``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from trainables.config.data import Function
from trainables.config.data_info import Task
from trainables.data.data_functions import DataFunction
from trainables.data.division import hold_out
from trainables.data.lazy import LazySplit, StreamSplit
from trainables.data.lazy_splits import LOOKED_AT, build_splits, check_positions, read_head
from trainables.data.nests import list_leaves
from trainables.data.raw import Raw
from trainables.data.returned_splits import Part
from trainables.data.rows import Rows
from trainables.data.splits import Splits
from trainables.data.splitters.base import Draw
from trainables.data.splitters.build import Rule
from trainables.errors import DataError


@dataclass(frozen=True)
class LazyRows(Rows):
    """The function divides; ``first`` is what its first call returned.

    Test samples are those of the first call, or a part of its validation samples.
    """

    function: DataFunction
    first: Splits
    gives_test: bool
    task: Task | None
    varies: bool = False
    allow_overlap: bool = False

    @property
    def redraws(self) -> bool:
        """Whether the function is called anew for every replicate."""
        return self.varies

    @property
    def tested(self) -> bool:
        """Whether test samples were returned or set aside."""
        return self.first.test is not None

    def divide(self, replicate: int = 0, *, redraw_test: bool = False) -> Splits:
        """The splits of a call for this replicate, with the test samples of the first call."""
        if not replicate or not self.redraws:
            return self.first
        made = build_splits(self.function.call(replicate), self.task)
        if not (redraw_test and self.gives_test):
            made = replace(made, test=self.first.test)
        if not self.allow_overlap:
            check_positions(made)
        return made

    def check_replicates(self, count: int) -> frozenset[int]:
        """Call the function for the last replicate only, since a call may take long."""
        if count and self.redraws:
            self.divide(count)
        return frozenset()

    def divide_fold(self, fold: int, folds: int) -> Splits:
        """The splits of a call for this fold."""
        return self.divide(fold)

    def check_folds(self, folds: int) -> frozenset[int]:
        """Call the function for every fold; a stream or one Dataset has none."""
        if not self.redraws:
            raise DataError(
                f"{self.function.path} returns a Dataset or a stream, whose samples are not "
                f"divided here: for {folds} folds let it take `fold`, or return a list of {folds} "
                "folds"
            )
        self.function.check_folds(folds)
        trained = [self.divide(fold).train for fold in range(folds)]
        return frozenset(len(t) for t in trained if isinstance(t, LazySplit))


def open_lazily(
    function: DataFunction,
    parts: Mapping[str, Part],
    config: Function,
    rule: Rule,
    *,
    varies: bool,
) -> LazyRows:
    """The rows of a function whose first call returned ``parts``, and others if it ``varies``.

    Raises:
        DataError: the parts do not fit together, or test samples cannot be set aside.
        ContractError: the user's code failed, or returned something else.
    """
    if rule.column is not None:
        raise DataError(f"{function.path} has no columns; `by` names a column of a table")
    if config.redraw == "pooled":
        raise DataError(
            f"{function.path} returns a Dataset or a stream, whose samples are not pooled; let it "
            "take `seed` or `fold`, and leave `redraw` out"
        )
    gives_test = "test" in parts
    splits = build_splits(parts, config.task)
    if not config.allow_overlap:
        check_positions(splits)
    if function.test_is_ours and function.test and gives_test:
        raise DataError(f"{function.path} returns test rows, so `test` has no effect; leave it out")
    if not gives_test and function.test:
        if varies:
            raise DataError(
                f"{function.path} returns other samples for every replicate, which may be test "
                "samples of the first call: return the same `test` every time, or set `test: 0`"
            )
        splits = _set_aside(splits, function, rule)
    return LazyRows(function, splits, gives_test, config.task, varies, config.allow_overlap)


def _set_aside(splits: Splits, function: DataFunction, rule: Rule) -> Splits:
    """Splits with test samples, which are taken from the validation samples."""
    val, train = splits.val, splits.train
    if isinstance(val, StreamSplit):
        return _halve(splits, val, function)
    assert isinstance(val, LazySplit)
    every = len(val) + (len(train) if isinstance(train, LazySplit) else 0)
    share = min(0.5, function.test * every / len(val))
    targets = val.find_targets()
    task = splits.info.task if targets is not None else Task.OTHER
    raw = Raw(np.arange(len(val)), np.arange(len(val)) if targets is None else targets)
    stay, held = hold_out(rule.splitter, raw, task, share, Draw(function.seed))
    note = f"test: {len(held)} samples set aside from val"
    return replace(
        splits,
        val=val.rows(stay, "val"),
        test=val.rows(held, "test"),
        notes=(*splits.notes, note),
    )


def _halve(splits: Splits, val: StreamSplit, function: DataFunction) -> Splits:
    """Splits with every second sample of the validation stream as test samples.

    Those of a stream in another order at each pass would mix: it is left whole.
    """
    first, second = (list_leaves(read_head(val, LOOKED_AT)) for _ in range(2))
    if not all(torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        if function.test_is_ours:
            raise DataError(
                f"{function.path}: test samples cannot be set aside from a stream that has another "
                "order at each pass; return `test`, too"
            )
        return splits
    halves = (replace(val, name=name, half=half) for half, name in enumerate(("val", "test")))
    held, test = halves
    what = "batch" if val.owns_batches else "sample"
    note = f"test: every second {what} of val, which has the same order at each pass"
    return replace(splits, val=held, test=test, notes=(*splits.notes, note))
