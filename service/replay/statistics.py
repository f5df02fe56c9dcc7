"""What many replays of one search amount to: medians, shares, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from service.replay.recorded_trainings import Courses
from service.replay.simulation import Improvement, Replay

Bounds = tuple[float, float]
LEVEL = 0.95
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
Tally = tuple[bool, ...]
"""One value for each replay in which there was something to count."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval at 95 %, over replays."""

    value: float
    interval: Bounds


@dataclass(frozen=True)
class Fate:
    """Whether the best configurations that a replay tried were pruned.

    The best of all, which ``is_strong`` or not; the best of those strongly regularised and of the
    others, None where it tried none.
    """

    best: bool
    is_strong: bool
    strong: bool | None
    weak: bool | None


def find_fate(courses: Courses, replay: Replay) -> Fate | None:
    """What became of the best configurations that a replay tried; None if it ended none."""
    tried = replay.completed | replay.pruned
    strong = tried & courses.strong
    best = _find_best(courses, tried)
    if best is None:
        return None
    strongest, weakest = (_find_best(courses, rows) for rows in (strong, tried - strong))
    return Fate(
        best=best in replay.pruned,
        is_strong=best in strong,
        strong=None if strongest is None else strongest in replay.pruned,
        weak=None if weakest is None else weakest in replay.pruned,
    )


def _find_best(courses: Courses, rows: frozenset[int]) -> int | None:
    return min(rows, key=lambda n: (courses.drawn[n].standing, n), default=None)


def estimate_mean(values: Sequence[float]) -> Estimate:
    """A mean with its interval by the normal distribution."""
    array = np.asarray(values, dtype=float)
    error = float(array.std(ddof=1) / math.sqrt(len(array))) if len(array) > 1 else math.inf
    mean = float(array.mean())
    return Estimate(mean, (mean - _Z * error, mean + _Z * error))


def estimate_median(values: Sequence[float]) -> Estimate:
    """A median with its interval between two of the sorted values, right for any distribution.

    With few values it is wider than they are, and ends at the smallest and the largest.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    low = max(0, int(binom.ppf((1 - LEVEL) / 2, len(ordered), 0.5)) - 1)
    high = len(ordered) - 1 - low
    return Estimate(quantile(ordered, 0.5), (float(ordered[low]), float(ordered[high])))


def quantile(values: Sequence[float] | NDArray[np.float64], share: float) -> float:
    """The smallest value that so many of the values do not exceed; they may be infinite."""
    ordered = np.sort(np.asarray(values, dtype=float))
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])


def estimate_share(hits: Sequence[bool | None]) -> Estimate | None:
    """The share of what is true, with Wilson's interval; None of nothing."""
    known = [hit for hit in hits if hit is not None]
    if not known:
        return None
    found = binomtest(sum(known), len(known)).proportion_ci(LEVEL, method="wilson")
    return Estimate(sum(known) / len(known), (float(found.low), float(found.high)))


def estimate_difference(pairs: Sequence[tuple[bool | None, bool | None]]) -> Estimate | None:
    """The share of the first minus that of the second, in pairs; None of nothing.

    The interval is that of Bonett and Price 2012, Adjusted Wald Confidence Interval for a
    Difference of Binomial Proportions Based on Paired Data.
    """
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not known:
        return None
    first = sum(a and not b for a, b in known)
    second = sum(b and not a for a, b in known)
    p, q = ((count + 1) / (len(known) + 2) for count in (first, second))
    half = _Z * math.sqrt((p + q - (p - q) ** 2) / (len(known) + 2))
    return Estimate((first - second) / len(known), (p - q - half, p - q + half))


def trace_regret(
    courses: Courses,
    replays: Sequence[Replay],
    at: Sequence[float],
    place: Callable[[Improvement], float],
) -> NDArray[np.float64]:
    """The regret of each replay at these places, epochs or seconds; infinite before a first trial.

    Rows are replays, columns are places.
    """
    return np.array([_trace(courses, r, at, place) for r in replays])


def _trace(
    courses: Courses, replay: Replay, at: Sequence[float], place: Callable[[Improvement], float]
) -> list[float]:
    regrets = [math.inf, *(courses.measure_regret(i.standing) for i in replay.improvements)]
    places = [place(i) for i in replay.improvements]
    return [regrets[int(np.searchsorted(places, point, side="right"))] for point in at]
