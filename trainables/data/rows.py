"""All samples of a sweep, and the divisions of them that its replicates train on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainables.config.data_info import Task
from trainables.data.division import check_training_part, choose_validation, hold_out, view
from trainables.data.encoding import prepare
from trainables.data.notes import Note
from trainables.data.raw import Raw, join
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
        others = targets if self.test is None else join([targets, Raw(self.test.y, self.test.y)])
        sizes = set()
        for replicate in range(1, count + 1):
            draw = Draw(self.seed, replicate)
            stay, _ = choose_validation(self.splitter, targets, self.task, self.share, draw)
            which = f"division {replicate} of {count}"
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
