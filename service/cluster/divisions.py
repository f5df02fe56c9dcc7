"""The data of a sweep's trials, and their divisions on a process's device. Imports no Ray."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import torch

from service.spec.model import SweepSpec
from service.study.messages import Assignment
from trainables.config.code_policy import CodePolicy
from trainables.data.placing import Placed, place
from trainables.data.rows import Rows
from trainables.data.splits import Splits

_MOST_KEPT = 2**27
"""Bytes of samples up to which all folds of a search stay encoded in the memory of a process."""
_Key = tuple[int, bool, int | None]
"""A replicate's number, whether the test samples are its own, and the fold."""


@dataclass(frozen=True)
class TrialContext:
    """The data that all trials of a sweep share.

    ``policy`` says which code its trials may load. Only loops elsewhere may have no ``rows``.
    """

    spec: SweepSpec
    rows: Rows | None
    folder: Path
    policy: CodePolicy = field(default_factory=CodePolicy)


@dataclass(frozen=True)
class Division:
    """The samples of one replicate, or of one fold of the search."""

    splits: Splits
    placed: Placed


class Divisions:
    """Divides the samples for the trials of a process.

    The last division stays on the device, and any other as long as a trial holds it.
    """

    def __init__(self, context: TrialContext, device: str) -> None:
        self._context, self._device = context, device
        self._last: Division | None = None
        self._held: WeakValueDictionary[_Key, Division] = WeakValueDictionary()
        self._known_folds: dict[int, Splits] = {}

    def get(self, trial: Assignment, fold: int | None) -> Division:
        """The division of a trial, or of one of its folds, on the device."""
        key = (trial.replicate, trial.redraws_test, fold)
        found = self._held.get(key)
        if found is None:
            self._last = None  # frees the device before the next one is placed
            collect_garbage(self._device)
            splits = self._read_splits(trial, fold)
            found = self._held[key] = Division(splits, place(splits, self._device))
        self._last = found
        return found

    def clear(self) -> None:
        """Let go of the data on the device."""
        self._last = None
        self._known_folds.clear()

    def _read_splits(self, trial: Assignment, fold: int | None) -> Splits:
        rows, folds = self._context.rows, self._context.spec.search.folds
        assert rows is not None, "the spec has data"
        if fold is None or folds is None:
            return rows.divide(trial.replicate, redraw_test=trial.redraws_test)
        if fold not in self._known_folds:
            splits = rows.divide_fold(fold, folds)
            sizes = [split.nbytes for _, split in splits.list_arrays()]
            if not sizes or sum(sizes) > _MOST_KEPT / folds:
                return splits
            self._known_folds[fold] = splits  # to encode a table takes longer than some epochs
        return self._known_folds[fold]


def collect_garbage(device: str) -> None:
    """Free the memory of a GPU that nothing uses any more."""
    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
