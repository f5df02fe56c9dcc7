"""How much better one arm is than another, from paired replicates and rows, and how surely.

Differences are tables of shape (replicates, rows): the arm's value minus the reference's, in cost
form (negative is better). A metric without a value for each row has one column, the replicates'
means. Pure statistics: nothing here knows of trials, sweeps or reports.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, stdtr, stdtrit

MIN_REPLICATES = 5
PARTS_LEVEL = 0.95
_ROUNDING = 1e-12  # a spread below this share of the largest difference is rounding
_DRAWS = 20_000

Table = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The mean difference of arm and reference over new seeds, divisions and rows.

    ``se`` counts replicates and rows; ``se_rows`` is what would remain of it with infinitely many
    replicates. With one column (``on_these_rows``) rows add nothing and nothing is said of others.
    """

    mean: float
    se: float
    df: float
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
        half = self.se * float(stdtrit(self.df, (1 + level) / 2))
        return self.mean - half, self.mean + half

    def p_better(self) -> float | None:
        """One-sided, of "not better"; None without spread or below ``MIN_REPLICATES``.

        Below α exactly if the upper end of ``interval(1 - 2 * α)`` is below 0.
        """
        if not self.se or self.replicates < MIN_REPLICATES:
            return None
        return float(stdtr(self.df, self.mean / self.se))


@dataclass(frozen=True, kw_only=True)
class PartEffect:
    """One of several effects, judged together with the others.

    ``p`` is two-sided and adjusted; it is below 1 - level exactly if ``interval`` excludes 0.
    """

    effect: Effect
    interval: tuple[float, float]
    p: float | None


class PartState(Enum):
    """What removing a part from the pick shows."""

    ACTS = "acts"
    IDLE = "idle"
    UNCLEAR = "unclear"


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
    finished = [costs for costs in (*arm, *reference) if _finished(costs)]
    if not finished:
        raise ValueError("no replicate of either arm finished")
    worst = np.max(np.stack(finished), axis=0)
    ours, theirs = (
        np.stack([costs if _finished(costs) else worst for costs in replicates])
        for replicates in (arm, reference)
    )
    equal = np.isclose(ours, theirs, rtol=_ROUNDING, atol=0)
    return np.where(equal, 0.0, ours - theirs)


def estimate(differences: NDArray[np.float64], *, overlap: float = 0.0) -> Effect:
    """The effect behind a table of differences, replicates and rows both being samples.

    Crossed random effects without repetition: with the mean squares of replicates, rows and
    residual, the mean's variance is (MS_replicates + MS_rows - MS_residual) / (R n) with
    Satterthwaite's degrees of freedom, neither of the first two counting less than the residual.
    One replicate leaves the rows' error, one column the replicates'. ``overlap`` adds that
    multiple of the replicates' variance (Nadeau & Bengio 2003: validation rows / training rows).
    """
    table = _checked(differences)
    replicates, rows = table.shape
    of_replicates, of_rows, residual = (float(part[0, 0]) for part in _mean_squares(table[None]))
    variance, df = _variance(of_replicates, of_rows, residual, table.shape)
    variance += overlap * max(of_replicates - residual, 0.0) / rows
    if math.sqrt(variance) <= _ROUNDING * float(np.abs(table).max()):
        variance = 0.0
    return Effect(
        mean=float(table.mean()),
        se=math.sqrt(variance),
        df=df,
        se_rows=_rows_error(of_rows, residual, table.shape, variance),
        replicates=replicates,
        rows=rows,
    )


def compare_simultaneously(
    differences: Mapping[str, NDArray[np.float64]], *, level: float = PARTS_LEVEL, seed: int = 0
) -> Mapping[str, PartEffect]:
    """Effects of several arms against one reference, with max-t intervals and p-values.

    All tables have one shape and share replicates and rows. The critical value is that of the
    largest |t| of a multivariate t whose correlations come from the tables (seeded draws). An arm
    without spread has an infinite interval and no p, and does not count among the others.
    """
    effects = {name: estimate(differences[name]) for name in sorted(differences)}
    judged = [name for name, effect in effects.items() if effect.se]
    tables = np.array([_checked(differences[name]) for name in judged])
    dfs = np.array([effects[name].df for name in judged])
    smallest = _smallest_p(_correlations(tables), dfs, seed) if len(judged) > 1 else None
    single = 1 - level if smallest is None else _quantile(smallest, 1 - level)
    return {
        name: PartEffect(
            effect=effects[name],
            interval=effects[name].interval(1 - single),
            p=_adjusted_p(effects[name], smallest),
        )
        for name in differences
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


def _finished(costs: Table | None) -> TypeGuard[Table]:
    return costs is not None and bool(np.isfinite(costs).all())


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


def _variance(
    of_replicates: float, of_rows: float, residual: float, shape: tuple[int, ...]
) -> tuple[float, float]:
    """Variance of a table's mean and its degrees of freedom, from the mean squares."""
    (replicates, rows), size = shape, math.prod(shape)
    if rows == 1:
        return of_replicates / size, max(replicates - 1, 1)
    if replicates == 1:
        return of_rows / size, rows - 1
    of_replicates, of_rows = max(of_replicates, residual), max(of_rows, residual)
    total = of_replicates + of_rows - residual
    spread = (
        of_replicates**2 / (replicates - 1)
        + of_rows**2 / (rows - 1)
        + residual**2 / ((replicates - 1) * (rows - 1))
    )
    return total / size, total**2 / spread if spread else replicates - 1


def _rows_error(of_rows: float, residual: float, shape: tuple[int, ...], variance: float) -> float:
    """The part of the standard error that replicates do not lower; at most all of it."""
    if shape[1] == 1:
        return 0.0
    return math.sqrt(min(max(of_rows - residual, 0.0) / math.prod(shape), variance))


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


def _smallest_p(correlations: Table, dfs: Table, seed: int) -> Table:
    """Draws of the smallest two-sided p-value of correlated t statistics without effect, sorted.

    One uniform draw scales all statistics, so equal ``dfs`` give a multivariate t.
    """
    random = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh(correlations)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = random.standard_normal((_DRAWS, len(dfs))) @ root.T
    scale = 2 * gammaincinv(dfs / 2, random.random((_DRAWS, 1))) / dfs
    statistics = np.abs(normal) / np.sqrt(scale)
    return np.asarray(np.sort(2 * stdtr(dfs, -statistics).min(axis=1)), dtype=np.float64)


def _knots(smallest: Table) -> tuple[Table, Table]:
    """The distribution of the smallest p-value, as a polygon from (0, 0) to (1, 1)."""
    return np.concatenate(([0.0], smallest, [1.0])), np.linspace(0, 1, len(smallest) + 2)


def _quantile(smallest: Table, share: float) -> float:
    p, cumulated = _knots(smallest)
    return float(np.interp(share, cumulated, p))


def _adjusted_p(effect: Effect, smallest: Table | None) -> float | None:
    if not effect.se or effect.replicates < MIN_REPLICATES:
        return None
    alone = 2 * float(stdtr(effect.df, -abs(effect.mean) / effect.se))
    return alone if smallest is None else float(np.interp(alone, *_knots(smallest)))
