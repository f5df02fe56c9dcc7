"""All samples of a sweep, and the divisions of them that its replicates train on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trainables.config.data_info import Task
from trainables.data.division import (
    check_training_part,
    choose_validation,
    hold_out,
    list_folds,
    view,
)
from trainables.data.encoding import prepare
from trainables.data.notes import Note
from trainables.data.raw import Indices, Raw, join
from trainables.data.splits import Splits
from trainables.data.splitters.base import Draw, Splitter
from trainables.errors import DataError


@dataclass(frozen=True)
class Rows(ABC):
    """All samples of a sweep, as arrays that Ray shares without copies.

    Test rows are set aside once; the others are divided anew for every replicate. ``notes`` say how
    the data were read.
    """

    notes: tuple[Note, ...] = field(default=(), kw_only=True)

    @property
    def redraws(self) -> bool:
        """Whether replicates have divisions of their own; otherwise all have replicate 0's."""
        return True

    @property
    @abstractmethod
    def tested(self) -> bool:
        """Whether there are test rows."""

    @abstractmethod
    def divide(self, replicate: int = 0, *, redraw_test: bool = False) -> Splits:
        """The splits of a replicate, encoded by statistics of its own training part.

        Replicate 0 is the search's division. All replicates have its test rows, unless
        ``redraw_test`` draws them anew too, which is a check of sensitivity and decides nothing.

        Raises:
            DataError: this division cannot be made or trained on.
            ContractError: a user-defined function violates the contract.
        """

    @abstractmethod
    def check_replicates(self, count: int) -> frozenset[int]:
        """Check the divisions 1 to ``count``, without encoding them.

        Returns the sizes of their training parts, as far as they are known beforehand.

        Raises:
            DataError: one of them cannot be made, or lacks a class in its training part.
        """

    @abstractmethod
    def divide_fold(self, fold: int, folds: int) -> Splits:
        """The splits of one of the folds of a cross-validated search, from 0; as :meth:`divide`.

        Raises:
            DataError: there are no such folds, or this one cannot be trained on.
            ContractError: a user-defined function violates the contract.
        """

    @abstractmethod
    def check_folds(self, folds: int) -> frozenset[int]:
        """Check the folds of a cross-validated search; returns the sizes of their training parts.

        Raises:
            DataError: there are no such folds, or one lacks a class in its training part.
        """

    def divide_for_search(self, folds: int | None) -> Splits:
        """The splits that the search's weights are of: those of its first fold, if it has folds."""
        return self.divide() if folds is None else self.divide_fold(0, folds)


@dataclass(frozen=True)
class GivenRows(Rows):
    """Data that came divided, and that every replicate has as they came."""

    splits: Splits

    @property
    def redraws(self) -> bool:
        """Never."""
        return False

    @property
    def tested(self) -> bool:
        """Whether test rows were given or set aside."""
        return self.splits.test is not None

    def divide(self, replicate: int = 0, *, redraw_test: bool = False) -> Splits:
        """The same splits, always."""
        return self.splits

    def check_replicates(self, count: int) -> frozenset[int]:
        """Nothing to check."""
        return frozenset()

    def divide_fold(self, fold: int, folds: int) -> Splits:
        """None: there is one division."""
        raise DataError(f"{folds} folds need samples that are divided here; {CAME_DIVIDED}")

    def check_folds(self, folds: int) -> frozenset[int]:
        """There are none."""
        raise DataError(f"{folds} folds need samples that are divided here; {CAME_DIVIDED}")


CAME_DIVIDED = (
    "these came divided: set `redraw: pooled` in `data` to divide their training and validation "
    "samples, or leave `search.folds` out"
)


@dataclass(frozen=True)
class DrawnRows(Rows):
    """Rows that a splitter divides, ``share`` of them for validation; test rows are apart."""

    pool: Raw
    test: Raw | None
    splitter: Splitter
    share: float
    seed: int
    task: Task
    keep_numbers: bool = False

    @property
    def tested(self) -> bool:
        """Whether test rows were given or set aside."""
        return self.test is not None

    def divide(self, replicate: int = 0, *, redraw_test: bool = False) -> Splits:
        """The splitter's division for this replicate."""
        draw = Draw(self.seed, replicate)
        source = self._redraw_test(draw) if redraw_test and replicate else self
        stay, held = choose_validation(source.splitter, source.pool, self.task, self.share, draw)
        parts = {"train": source.pool.rows(stay), "val": source.pool.rows(held)}
        if source.test is not None:
            parts["test"] = source.test
        return prepare(parts, self.task, keep_numbers=self.keep_numbers)

    def check_replicates(self, count: int) -> frozenset[int]:
        """Divide ``count`` times, and look for the classes in each training part."""
        cases = view(self.pool, self.task)
        self.splitter.check(cases, 2)
        self.splitter.check_replicates(cases, self.share, count)
        targets = Raw(self.pool.y, self.pool.y, self.pool.by)
        draws = (Draw(self.seed, replicate) for replicate in range(1, count + 1))
        made = (
            choose_validation(self.splitter, targets, self.task, self.share, draw) for draw in draws
        )
        return self._check_training_parts(made, "division", count)

    def divide_fold(self, fold: int, folds: int) -> Splits:
        """One of the splitter's folds of the rows that are not the test's."""
        stay, held = self._list_folds(self.pool, folds)[fold]
        parts = {"train": self.pool.rows(stay), "val": self.pool.rows(held)}
        if self.test is not None:
            parts["test"] = self.test
        return prepare(parts, self.task, keep_numbers=self.keep_numbers)

    def check_folds(self, folds: int) -> frozenset[int]:
        """Look for the classes in the training part of each fold."""
        made = self._list_folds(Raw(self.pool.y, self.pool.y, self.pool.by), folds)
        return self._check_training_parts(made, "fold", folds)

    def _list_folds(self, pool: Raw, folds: int) -> list[tuple[Indices, Indices]]:
        return list_folds(self.splitter, pool, self.task, folds, self.share, Draw(self.seed))

    def _check_training_parts(
        self, divisions: Iterable[tuple[Indices, Indices]], what: str, count: int
    ) -> frozenset[int]:
        targets = Raw(self.pool.y, self.pool.y, self.pool.by)
        others = targets if self.test is None else join([targets, Raw(self.test.y, self.test.y)])
        sizes = set()
        for number, (stay, _) in enumerate(divisions, start=1):
            which = f"{what} {number} of {count}"
            check_training_part(targets.rows(stay), others, self.task, which)
            sizes.add(len(stay))
        return frozenset(sizes)

    def _redraw_test(self, draw: Draw) -> DrawnRows:
        if self.test is None:
            raise DataError("there are no test rows to redraw")
        whole = join([self.pool, self.test])
        share = len(self.test) / len(whole)
        stay, held = hold_out(self.splitter, whole, self.task, share, draw)
        return DrawnRows(
            whole.rows(stay),
            whole.rows(held),
            self.splitter,
            self.share,
            self.seed,
            self.task,
            self.keep_numbers,
        )


@dataclass(frozen=True)
class PooledRows(Rows):
    """Data that came divided; replicates divide the pooled training and validation rows anew."""

    parts: Mapping[str, Raw]
    splitter: Splitter
    seed: int
    task: Task
    keep_numbers: bool = False

    @property
    def tested(self) -> bool:
        """Whether test rows were given or set aside."""
        return "test" in self.parts

    def divide(self, replicate: int = 0, *, redraw_test: bool = False) -> Splits:
        """The given division for replicate 0, else the splitter's."""
        if not replicate:
            return prepare(self.parts, self.task, keep_numbers=self.keep_numbers)
        return self._pool().divide(replicate, redraw_test=redraw_test)

    def check_replicates(self, count: int) -> frozenset[int]:
        """Divide the pool ``count`` times, and look for the classes in each training part."""
        return self._pool().check_replicates(count)

    def divide_fold(self, fold: int, folds: int) -> Splits:
        """One of the splitter's folds of the pool."""
        return self._pool().divide_fold(fold, folds)

    def check_folds(self, folds: int) -> frozenset[int]:
        """Look for the classes in the training part of each fold of the pool."""
        return self._pool().check_folds(folds)

    def _pool(self) -> DrawnRows:
        train, val = self.parts["train"], self.parts["val"]
        share = len(val) / (len(train) + len(val))
        return DrawnRows(
            join([train, val]),
            self.parts.get("test"),
            self.splitter,
            share,
            self.seed,
            self.task,
            self.keep_numbers,
        )
