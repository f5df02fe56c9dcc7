"""The rows of a sweep whose training loop has data of its own: none that are known here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainables.config.data_info import DataInfo, Kind, Task
from trainables.data.rows import Rows
from trainables.data.splits import Split, Splits
from trainables.errors import DataError


class NoSplits(Splits):
    """No samples."""

    def __init__(self) -> None:
        info = DataInfo((), Task.OTHER, 0, Kind.OTHER)
        none = Split(np.zeros((0, 1), np.float32), np.zeros(0, np.int64))
        super().__init__(none, none, None, info)

    def __post_init__(self) -> None:
        """Check nothing."""


@dataclass(frozen=True)
class NoRows(Rows):
    """No samples; every replicate has a new seed only."""

    @property
    def redraws(self) -> bool:
        """Never."""
        return False

    @property
    def tested(self) -> bool:
        """Never."""
        return False

    def divide(self, replicate: int = 0, *, redraw_test: bool = False) -> Splits:
        """No samples."""
        return NoSplits()

    def check_replicates(self, count: int) -> frozenset[int]:
        """Nothing to check."""
        return frozenset()

    def divide_fold(self, fold: int, folds: int) -> Splits:
        """None."""
        raise DataError(f"{folds} folds need samples that are divided here, and there are none")

    def check_folds(self, folds: int) -> frozenset[int]:
        """There are none."""
        raise DataError(f"{folds} folds need samples that are divided here, and there are none")
