"""Divisions in the order of time: training rows, then validation rows, then test rows."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.data.raw import Array, Indices
from trainables.data.splitters.base import Cases, Draw, Splitter, get_by
from trainables.errors import DataError

_LEAST_TRAINING = 0.5
_GOLDEN = (np.sqrt(5) - 1) / 2


class RollingOrigin(Splitter):
    """The last rows are held out. Replicates hold out earlier windows of about the same size.

    Rows of the same time are in the same part. A replicate trains on the rows before its window,
    at least half as many as replicate 0 does; the rows after the window are not used.
    """

    def read(self, by: Array, column: str) -> Array:
        """The rank of each row's time."""
        return np.unique(_read_times(by, column), return_inverse=True)[1].reshape(-1)

    def check(self, cases: Cases, parts: int) -> None:
        """Check that there is a time for every part."""
        count = len(np.unique(get_by(cases)))
        if count < parts:
            raise DataError(f"the rows have {count} different times; {parts} parts need {parts}")

    def check_replicates(self, cases: Cases, share: float, count: int) -> None:
        """Check that each replicate has a window of its own."""
        windows = _Timeline.read(cases).list_windows(share)
        if len(windows) <= count:
            raise DataError(
                f"{count} replicates need as many earlier validation windows, and the times of the "
                f"rows give {len(windows) - 1}; set fewer replicates, or a smaller `val` or `test`"
            )

    def hold_out(self, cases: Cases, share: float, draw: Draw) -> tuple[Indices, Indices]:
        """The last times, or for a replicate an earlier window."""
        self.check(cases, 2)
        timeline = _Timeline.read(cases)
        windows = timeline.list_windows(share)
        if draw.replicate >= len(windows):
            raise DataError(
                f"replicate {draw.replicate} has no validation window of its own; the times of "
                f"the rows give {len(windows) - 1} beside the search's"
            )
        position = 0
        if draw.replicate:
            position = 1 + int(_spread(len(windows) - 1, draw.seed)[draw.replicate - 1])
        return timeline.divide(*windows[position])

    def list_folds(
        self, cases: Cases, folds: int, share: float, draw: Draw
    ) -> list[tuple[Indices, Indices]]:
        """The latest windows that share no row, the first fold's the last.

        Each trains on the rows before its window, at least half as many as the first fold does.
        """
        del draw
        self.check(cases, 2)
        timeline = _Timeline.read(cases)
        apart = timeline.list_windows_apart(share)
        if len(apart) < folds:
            raise DataError(
                f"{folds} folds need as many validation windows, one after another, and the times "
                f"of the rows give {len(apart)}; set fewer folds, or a smaller `val`"
            )
        return [timeline.divide(*window) for window in apart[:folds]]


@dataclass(frozen=True)
class _Timeline:
    """Rows in the order of time.

    ``order`` has the rows, ``starts`` the position in it at which each different time starts, and
    at last the number of rows.
    """

    order: Indices
    starts: Indices

    @staticmethod
    def read(cases: Cases) -> _Timeline:
        by = get_by(cases)
        counts = np.unique(by, return_counts=True)[1]
        return _Timeline(np.argsort(by, kind="stable"), np.concatenate([[0], np.cumsum(counts)]))

    def list_windows(self, share: float) -> list[tuple[int, int]]:
        """Start and end of windows of the wanted share, the latest first, in positions of rows."""
        rows, times = int(self.starts[-1]), len(self.starts) - 1
        wanted = max(1, round(share * rows))
        first = 2 if times > 2 else 1
        inner = self.starts[first:-1]
        last = first + int(np.abs(rows - inner - wanted).argmin())
        windows = [(int(self.starts[last]), rows)]
        for index in range(last - 1, 0, -1):
            start = int(self.starts[index])
            if start < _LEAST_TRAINING * self.starts[last]:
                break
            later = self.starts[index + 1 :]
            windows.append((start, int(later[np.abs(later - start - wanted).argmin()])))
        return windows

    def list_windows_apart(self, share: float) -> list[tuple[int, int]]:
        """Those of the windows that end where a later one starts, or before, the latest first."""
        windows = self.list_windows(share)
        found = windows[:1]
        for window in windows[1:]:
            if window[1] <= found[-1][0]:
                found.append(window)
        return found

    def divide(self, start: int, end: int) -> tuple[Indices, Indices]:
        return self.order[:start], self.order[start:end]


def _spread(count: int, seed: int) -> NDArray[np.int64]:
    """A permutation of 0 … ``count`` − 1 of which any first few are spread evenly."""
    keys = np.mod((np.arange(count) + 1 + seed % 1000) * _GOLDEN, 1.0)
    return np.argsort(np.argsort(keys))


def _read_times(by: Array, column: str) -> Array:
    """Values that sort as the times do: numbers, or times in UTC.

    Text has to be a date of ISO 8601, since other text would sort by its letters.
    """
    if np.issubdtype(by.dtype, np.number) or by.dtype.kind in "mM":
        return by
    texts = pd.Series([v if isinstance(v, str | datetime.date) else "" for v in by], dtype=object)
    times = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    wrong = times.isna().to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"column {column!r} cannot be ordered by time: row {row} is {by[row]!r}; valid are "
            "numbers, and dates as 2026-01-31 or 2026-01-31T12:00:00"
        )
    read: Array = times.to_numpy()
    return read
