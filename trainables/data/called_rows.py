"""Rows of a data function that is called anew for every replicate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainables.config.data_info import Task
from trainables.data.data_functions import DataFunction
from trainables.data.division import check_training_part, set_test_aside
from trainables.data.encoding import prepare
from trainables.data.inputs import OF_FUNCTIONS, read_inputs
from trainables.data.raw import Raw, join
from trainables.data.rows import Rows
from trainables.data.splits import Splits, check_overlap
from trainables.data.splitter_column import take_column
from trainables.data.splitters.base import Draw
from trainables.data.splitters.build import Rule
from trainables.errors import DataError, locate


@dataclass(frozen=True)
class CalledRows(Rows):
    """The function divides. The test rows are those of its first call.

    ``first`` has the parts of that call, with test rows that were set aside if it returned none;
    ``gives_test`` says whether it returned any.
    """

    function: DataFunction
    first: Mapping[str, Raw]
    gives_test: bool
    rule: Rule
    task: Task
    allow_overlap: bool

    @property
    def redraws(self) -> bool:
        """Always."""
        return True

    @property
    def tested(self) -> bool:
        """Whether test rows were returned or set aside."""
        return "test" in self.first

    def divide(self, replicate: int = 0, *, redraw_test: bool = False) -> Splits:
        """The parts of a call for this replicate, with the test rows of the first call."""
        if not replicate:
            return prepare(self.first, self.task, keep_numbers=True)
        with locate(f"replicate {replicate}"):
            parts = self._draw(replicate, redraw_test)
            splits = prepare(parts, self.task, keep_numbers=True)
            if not self.allow_overlap and (self.gives_test or not redraw_test):
                check_overlap(splits)
        return splits

    def check_replicates(self, count: int) -> frozenset[int]:
        """Call the function for the last replicate only, since a call may take long."""
        if count < 1:
            return frozenset()
        parts = self._draw(count, redraw_test=False)
        targets = [Raw(p.y, p.y) for p in parts.values()]
        check_training_part(parts["train"], join(targets), self.task, f"division {count}")
        return frozenset((len(parts["train"]),))

    def divide_fold(self, fold: int, folds: int) -> Splits:
        """The parts of a call for this fold."""
        if not fold:
            return self.divide()
        with locate(f"fold {fold + 1} of {folds}"):
            return self.divide(fold)

    def check_folds(self, folds: int) -> frozenset[int]:
        """Call the function for every fold."""
        self.function.check_folds(folds)
        return frozenset(len(self._divide_arrays(fold, folds)) for fold in range(folds))

    def _divide_arrays(self, fold: int, folds: int) -> Raw:
        """The training part of a fold, with all classes."""
        parts = self._draw(fold, redraw_test=False) if fold else dict(self.first)
        targets = [Raw(p.y, p.y) for p in parts.values()]
        which = f"fold {fold + 1} of {folds}"
        check_training_part(parts["train"], join(targets), self.task, which)
        return parts["train"]

    def _draw(self, replicate: int, redraw_test: bool) -> dict[str, Raw]:
        called = _check_arrays(self.function, replicate)
        parts, _ = read_inputs(take_column(called, self.rule, self.function.path), OF_FUNCTIONS)
        if not self.tested or (redraw_test and self.gives_test):
            return parts
        parts.pop("test", None)
        if redraw_test:
            draw = Draw(self.function.seed, replicate)
            return set_test_aside(parts, self.rule.splitter, self.task, self.function.test, draw)
        test = self.first["test"]
        if not self.gives_test:
            parts = _leave_out(parts, test)
        return {**parts, "test": test}


def _check_arrays(function: DataFunction, replicate: int) -> dict[str, Raw]:
    parts = function.call(replicate)
    arrays = {name: part for name, part in parts.items() if isinstance(part, Raw)}
    if len(arrays) < len(parts):
        raise DataError(f"{function.path} returned arrays first and now a Dataset")
    return arrays


def _leave_out(parts: Mapping[str, Raw], test: Raw) -> dict[str, Raw]:
    """The parts without rows that equal a test row, which the function does not know of."""
    taken = set(test.hashes())
    made = {}
    for name, part in parts.items():
        keep = np.array([digest not in taken for digest in part.hashes()], dtype=bool)
        if not keep.any():
            raise DataError(f"all rows of {name} are test rows of the first call")
        made[name] = part.rows(np.flatnonzero(keep))
    return made
