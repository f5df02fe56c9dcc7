"""How much better one arm is than another, from paired replicates and rows, and how surely.

Differences are tables of shape (replicates, rows): the arm's value minus the reference's, in cost
form (negative is better). A metric without a value for each row has one column, the replicates'
means. Pure statistics: nothing here knows of trials, sweeps or reports.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.spec.sections import LOOKS
from service.sweep.answer import PartState

PARTS_LEVEL = 0.95
_SMALLEST = 1e-290  # below it quantiles of t are not reliable
_ROUNDING = 1e-12  # a spread below this share of the largest difference is rounding
_DRAWS = 20_000
_ALONE = np.array([0.0, 1.0])  # quantiles of one p-value

Table = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The mean difference of arm and reference over new seeds, divisions and rows.

    ``se`` counts replicates and rows; ``se_rows`` is what would remain of it with infinitely many
    replicates. With one column (``on_these_rows``) rows add nothing and nothing is said of others.
    """

    mean: float
    se: float
    se_rows: float
    replicates: int
    rows: int

    @property
    def on_these_rows(self) -> bool:
        """Whether only the replicates' means were known."""
        return self.rows == 1

    def interval(self, level: float) -> tuple[float, float]:
        """The two-sided interval at ``level``; infinite where there is no spread to judge by."""
        if not self.se or level >= 1:
            return -math.inf, math.inf
        half = self.half_width((1 - level) / 2)
        return self.mean - half, self.mean + half

    def half_width(self, tail: float, *, replicates: float | None = None) -> float:
        """Half an interval's width with ``tail`` on each side, for so many replicates of the same.

        Cochran & Cox: the quantile of t is the mean of those for replicates and for rows, weighted
        by their parts of the variance.
        """
        actual = self.replicates if replicates is None else replicates
        of_rows = self.se_rows**2
        of_replicates = (self.se**2 - of_rows) * self.replicates / actual
        if not of_replicates + of_rows:
            return 0.0
        weight = of_replicates / (of_replicates + of_rows)
        return math.sqrt(of_replicates + of_rows) * _quantile(tail, weight, actual, self.rows)

    def p_better(self) -> float | None:
        """One-sided, of "not better"; None without spread or before the first look.

        Below α exactly if the upper end of ``interval(1 - 2 * α)`` is below 0.
        """
        tail = self._tail()
        return tail if tail is None or self.mean < 0 else 1 - tail

    def p_different(self) -> float | None:
        """Two-sided, of "no difference"; None where ``p_better`` is."""
        tail = self._tail()
        return None if tail is None else 2 * tail

    def _tail(self) -> float | None:
        """The tail whose interval just reaches 0."""
        if not self.se or self.replicates < LOOKS[0]:
            return None
        weight = 1 - (self.se_rows / self.se) ** 2
        return _tail(abs(self.mean) / self.se, weight, self.replicates, self.rows)


@dataclass(frozen=True, kw_only=True)
class PartEffect:
    """One of several effects, judged together with the others.

    ``p`` is two-sided and adjusted; it is below 1 - level exactly if ``interval`` excludes 0.
    """

    effect: Effect
    interval: tuple[float, float]
    p: float | None


@dataclass(frozen=True, kw_only=True)
class PartJudgement:
    """The state of a part and the effect of its removal (removed minus pick) behind it."""

    state: PartState
    removal: PartEffect


def pair_replicates(
    arm: Sequence[Table | None], reference: Sequence[Table | None]
) -> NDArray[np.float64]:
    """The table of differences of two arms' costs by replicate, each of shape (rows,).

    A failed replicate, None or with a value that is not finite, counts against its arm: in each
    row it gets the highest cost that any finished replicate of the two arms has there. Where both
    failed they are equal, and so are costs that differ by rounding. Raises ValueError where no
    replicate finished at all.
    """
    if len(arm) != len(reference):
        raise ValueError(f"{len(arm)} replicates of the arm, {len(reference)} of the reference")
    known = next((costs for costs in (*arm, *reference) if costs is not None), np.empty(0))
    missing = np.full(np.shape(known), np.nan)
    costs = np.array([missing if one is None else one for one in (*arm, *reference)])
    finished = np.isfinite(costs).all(axis=1)
    if not costs.size or not finished.any():
        raise ValueError("no replicate of either arm finished")
    costs[~finished] = costs[finished].max(axis=0)
    ours, theirs = costs[: len(arm)], costs[len(arm) :]
    differences = ours - theirs
    return np.where(np.abs(differences) > _ROUNDING * np.abs(theirs), differences, 0.0)


def estimate(differences: NDArray[np.float64], *, overlap: float = 0.0) -> Effect:
    """The effect behind a table of differences, replicates and rows both being samples.

    Crossed random effects without repetition: with the mean squares of replicates, rows and
    residual, the mean's variance is (MS_replicates + MS_rows - MS_residual) / (R n), neither of
    the first two counting less than the residual. One replicate leaves the rows' error, one column
    the replicates'. ``overlap`` adds that multiple of the replicates' variance (Nadeau & Bengio
    2003: validation rows / training rows).
    """
    table = _checked(differences)
    replicates, rows = table.shape
    of_replicates, of_rows, residual = (float(part[0, 0]) for part in _mean_squares(table[None]))
    by_replicates, by_rows = _variances(of_replicates, of_rows, residual, table.shape)
    by_replicates += overlap * max(of_replicates - residual, 0.0) / rows
    se = math.sqrt(by_replicates + by_rows)
    spread = se > _ROUNDING * float(np.abs(table).max())
    return Effect(
        mean=float(table.mean()),
        se=se if spread else 0.0,
        se_rows=math.sqrt(by_rows) if spread else 0.0,
        replicates=replicates,
        rows=rows,
    )


def compare_simultaneously(
    differences: Mapping[str, NDArray[np.float64]], *, level: float = PARTS_LEVEL, seed: int = 0
) -> Mapping[str, PartEffect]:
    """Effects of several arms against one reference, with max-t intervals and p-values.

    All tables have one shape and share replicates and rows. The critical value is that of the
    largest |t| of normal replicates with the correlations of the tables (seeded draws; with many
    replicates a multivariate t). An arm without spread has an infinite interval and no p, and does
    not count among the others.
    """
    effects = {name: estimate(differences[name]) for name in sorted(differences)}
    judged = [name for name, effect in effects.items() if effect.se]
    smallest = _ALONE
    if len(judged) > 1:
        tables = np.array([_checked(differences[name]) for name in judged])
        smallest = _draw_smallest_p(_correlations(tables), tables.shape[1], seed)
    cumulated = np.linspace(0, 1, len(smallest))
    single = float(np.interp(1 - level, cumulated, smallest))
    return {
        name: PartEffect(
            effect=effects[name],
            interval=effects[name].interval(1 - single),
            p=None if p is None else float(np.interp(p, smallest, cumulated)),
        )
        for name in differences
        for p in [effects[name].p_different()]
    }


def judge_parts(
    removals: Mapping[str, NDArray[np.float64]], *, min_effect: float, level: float = PARTS_LEVEL
) -> Mapping[str, PartJudgement]:
    """What each part of the pick does, from tables of "removed minus pick".

    A part is idle where its interval lies within ± ``min_effect`` or all differences are 0, acts
    where the interval lies on the worse side of 0, and is unclear otherwise. Too small to matter
    goes first: a part with an effect that is certain and below ``min_effect`` is idle.
    """
    compared = compare_simultaneously(removals, level=level)
    return {
        name: PartJudgement(
            state=_state(removal, bool(np.any(removals[name])), min_effect), removal=removal
        )
        for name, removal in compared.items()
    }


def _state(removal: PartEffect, differs: bool, min_effect: float) -> PartState:
    low, high = removal.interval
    if not differs:
        return PartState.IDLE
    if removal.p is None:
        return PartState.UNCLEAR
    if -min_effect < low and high < min_effect:
        return PartState.IDLE
    return PartState.ACTS if low > 0 else PartState.UNCLEAR


def _checked(differences: NDArray[np.float64]) -> Table:
    table = np.asarray(differences, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"differences need the shape (replicates, rows), not {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("differences must be finite; pair_replicates counts failed replicates")
    return table


def _mean_squares(tables: NDArray[np.float64]) -> tuple[Table, Table, Table]:
    """Mean squares and products of k tables: of replicates, of rows, residual; each (k, k)."""
    arms, replicates, rows = tables.shape
    centred = tables - tables.mean(axis=(1, 2), keepdims=True)
    flat = centred.reshape(arms, -1)
    by_replicate, by_row = centred.mean(axis=2), centred.mean(axis=1)
    of_replicates = rows * (by_replicate @ by_replicate.T)
    of_rows = replicates * (by_row @ by_row.T)
    residual = flat @ flat.T - of_replicates - of_rows
    return (
        of_replicates / max(replicates - 1, 1),
        of_rows / max(rows - 1, 1),
        residual / max((replicates - 1) * (rows - 1), 1),
    )


def _variances(
    of_replicates: float, of_rows: float, residual: float, shape: tuple[int, ...]
) -> tuple[float, float]:
    """The parts of the variance of a table's mean that replicates lower, and that only rows do."""
    (replicates, rows), size = shape, math.prod(shape)
    if rows == 1:
        return of_replicates / size, 0.0
    if replicates == 1:
        return 0.0, of_rows / size
    return max(of_replicates, residual) / size, max(of_rows - residual, 0.0) / size


def _quantile(tail: float, weight: float, replicates: float, rows: int) -> float:
    """The weighted mean of two quantiles of t; ``weight`` is that of the replicates."""
    from scipy.special import stdtrit  # half a second that no trial needs

    found = 0.0
    if weight:
        found -= weight * float(stdtrit(replicates - 1, tail))
    if weight < 1:
        found -= (1 - weight) * float(stdtrit(rows - 1, tail))
    return found


def _tail(t: float, weight: float, replicates: int, rows: int) -> float:
    """The tail at which the weighted quantile is ``t``, which is not negative."""
    from scipy.optimize import brentq
    from scipy.special import stdtr

    if weight in (0, 1):
        return float(stdtr(replicates - 1 if weight else rows - 1, -t))
    low, high = sorted((float(stdtr(replicates - 1, -t)), float(stdtr(rows - 1, -t))))
    if low < _SMALLEST or low == high:
        return high
    found = brentq(
        lambda log: _quantile(math.exp(log), weight, replicates, rows) - t,
        math.log(low) - 1e-6,
        min(math.log(high) + 1e-6, 0.0),
    )
    return math.exp(found)


def _correlations(tables: NDArray[np.float64]) -> Table:
    """Correlations of the mean differences, shape (k, k), by the same crossed estimate."""
    of_replicates, of_rows, residual = _mean_squares(tables)
    covariance = of_replicates + of_rows - residual
    floor = np.diag(residual)
    own = np.maximum(np.diag(of_replicates), floor) + np.maximum(np.diag(of_rows), floor) - floor
    np.fill_diagonal(covariance, own)
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    repaired = (vectors * np.maximum(values, 0.0)) @ vectors.T
    scale = np.sqrt(np.diag(repaired))
    return np.asarray(repaired / np.outer(scale, scale), dtype=np.float64)


def _draw_smallest_p(correlations: Table, replicates: int, seed: int) -> Table:
    """Quantiles, from 0 to 1, of the smallest of k two-sided p-values without any effect.

    Of t statistics of normal replicates with these correlations, each with its own variance.
    """
    from scipy.special import stdtr

    arms, sample = len(correlations), max(replicates, 2)
    values, vectors = np.linalg.eigh(correlations)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = np.random.default_rng(seed).standard_normal((sample, _DRAWS, arms)) @ root.T
    largest = np.abs(drawn.mean(axis=0) / drawn.std(axis=0, ddof=1)).max(axis=1)
    smallest = 2 * stdtr(sample - 1, -largest * math.sqrt(sample))
    return np.concatenate(([0.0], np.sort(smallest), [1.0]))
