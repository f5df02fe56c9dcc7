"""How much each parameter mattered, for the objective and for the generalisation gap."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from service.study.attributes import TrialAttributes
from service.study.records import Role, find_gap
from service.study.sampled_space import read_space

MIN_TRIALS = 20
TOO_FEW_TRIALS = "Not enough trials to tell what mattered."
_LEVEL = 0.95
_TAILS = ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)
_BINS = 5
_PERMUTATIONS = 500
_RESAMPLES = 500
_SEARCHED = (Role.SEARCH, Role.ENQUEUED)

Values = NDArray[np.float64]
Target = Callable[[FrozenTrial], float]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Importances:
    """Shares of 1 by parameter, largest first, of those that stand out from chance.

    Each has a 95 % interval, by the same name. A target for which no parameter stands out is
    empty: the trials are not enough to tell.
    """

    objective: Mapping[str, float]
    gap: Mapping[str, float]
    objective_intervals: Mapping[str, Interval] = field(default_factory=dict)
    gap_intervals: Mapping[str, Interval] = field(default_factory=dict)


def importances(study: optuna.Study) -> Importances:
    """What explains the ranking of the searched trials, as far as it is more than chance.

    A parameter's share is what it explains of the variance of ranks (analysis of variance over its
    choices, or over fifths of its values), less what shuffled ranks give, among the trials that
    have it: λ is judged within those with a penalty, and where it has another range for each,
    within those with the same. A parameter is shown if shuffled ranks show
    any with at most 5 % chance. A pruned trial counts for the objective with the best value it
    reached. For the gap only completed trials count, since that of an early epoch means nothing,
    and only those with an objective at least as good as the baseline's, or in the better half
    without a baseline: a low gap at a high loss is no merit. Seeded, so it repeats.
    """
    maximised = study.direction is optuna.study.StudyDirection.MAXIMIZE
    sign = -1.0 if maximised else 1.0

    def objective(trial: FrozenTrial) -> float:
        return min((sign * value for value in _values(trial)), default=math.nan)

    trials = _finished(study)
    names = _name_dimensions(study)
    searched = [t for t in trials if TrialAttributes.of(t).role in _SEARCHED]
    limit = _acceptable(trials, searched, objective)
    of_objective = _shares(searched, objective, names)
    of_gap = _shares([t for t in searched if objective(t) <= limit], _gap, names)
    return Importances(
        objective={name: share for name, (share, _) in of_objective.items()},
        gap={name: share for name, (share, _) in of_gap.items()},
        objective_intervals={name: interval for name, (_, interval) in of_objective.items()},
        gap_intervals={name: interval for name, (_, interval) in of_gap.items()},
    )


@dataclass(frozen=True)
class _Parameter:
    """Columns that say which trials are in which bin; bins of one regime are compared together."""

    name: str
    bins: Values  # (trials, bins), of 0 and 1
    regimes: tuple[slice, ...]

    def explain(self, ranks: Values, weights: Values) -> Values:
        """The squares between bins as shares of all, for each row of ranks and of weights."""
        sizes, sums = weights @ self.bins, (weights * ranks) @ self.bins
        squares = sums**2 / np.maximum(sizes, 1)
        between = sum(
            squares[:, regime].sum(axis=1)
            - sums[:, regime].sum(axis=1) ** 2 / np.maximum(sizes[:, regime].sum(axis=1), 1)
            for regime in self.regimes
        )
        mean = (weights * ranks).sum(axis=1) / weights.sum(axis=1)
        return np.asarray(between / ((ranks - mean[:, None]) ** 2 * weights).sum(axis=1))


def _shares(
    trials: Sequence[FrozenTrial], target: Target, names: Mapping[str, str]
) -> dict[str, tuple[float, Interval]]:
    """Share and interval of each parameter that stands out among trials with a finite target."""
    judged = [trial for trial in trials if math.isfinite(target(trial))]
    parameters = _parameters(judged, names)
    if len(judged) < MIN_TRIALS or not parameters:
        return {}
    ranks = rank([target(trial) for trial in judged])[None]
    if np.ptp(ranks) == 0:
        return {}
    random, equal = np.random.default_rng(0), np.ones_like(ranks)
    shuffled = random.permuted(np.repeat(ranks, _PERMUTATIONS, axis=0), axis=1)
    found = np.array([p.explain(ranks, equal)[0] for p in parameters])
    chance = np.array([p.explain(shuffled, equal) for p in parameters])
    again = _resample(random, len(judged))
    resampled = np.array([p.explain(ranks, again) for p in parameters])
    usual = chance.mean(axis=1)
    shares = _normalise((found - usual)[:, None])[:, 0]
    # A resample repeats trials, which explains as much again as chance does.
    low, high = np.quantile(_normalise(resampled - 2 * usual[:, None]), _TAILS, axis=1)
    shown = {
        parameters[i].name: (float(shares[i]), (float(low[i]), float(high[i])))
        for i in np.flatnonzero(_stands_out(found, chance))
    }
    return dict(sorted(shown.items(), key=lambda item: (-item[1][0], item[0])))


def rank(values: Sequence[float]) -> Values:
    """Ranks from 1; equal values have the mean of theirs, as by ``scipy.stats.rankdata``."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])


def _resample(random: np.random.Generator, trials: int) -> Values:
    """How often each resample has each trial, shape (resamples, trials)."""
    drawn = random.multinomial(trials, np.full(trials, 1 / trials), size=_RESAMPLES)
    return drawn.astype(np.float64)


def _normalise(explained: Values) -> Values:
    """Columns of shares, of what is above chance."""
    positive = np.maximum(explained, 0.0)
    return np.asarray(positive / np.maximum(positive.sum(axis=0), 1e-12))


def _stands_out(found: Values, chance: Values) -> NDArray[np.bool_]:
    """Which parameters are beyond what any of them reaches by chance in 5 % of the shuffles.

    The smallest p-value over parameters is compared with that of each shuffle (Westfall & Young
    1993), so that parameters with many bins do not weigh on the others.
    """
    everything = np.concatenate((found[:, None], chance), axis=1)
    below = np.array([np.searchsorted(np.sort(row), row) for row in everything])
    above = everything.shape[1] - below  # how many are as large, or larger
    smallest = above.min(axis=0)
    return np.asarray(
        [np.mean(smallest <= own) <= 1 - _LEVEL for own in above[:, 0]], dtype=np.bool_
    )


def _name_dimensions(study: optuna.Study) -> dict[str, str]:
    """The parameters of which the study has several dimensions, by the names of these."""
    space = read_space(study)
    return {} if space is None else {d.stored: d.name for d in space.dimensions}


def _parameters(trials: Sequence[FrozenTrial], names: Mapping[str, str]) -> list[_Parameter]:
    """The parameters that varied; the alternatives of one are one parameter."""
    varied = {n for t in trials for n, d in t.distributions.items() if not d.single()}
    dimensions: dict[str, list[str]] = defaultdict(list)
    for stored in sorted(varied):
        dimensions[names.get(stored, stored)].append(stored)
    found = (_parameter(name, stored, trials) for name, stored in sorted(dimensions.items()))
    return [parameter for parameter in found if parameter.regimes]


def _parameter(name: str, dimensions: Sequence[str], trials: Sequence[FrozenTrial]) -> _Parameter:
    """One regime for each distribution of each dimension; too small ones are left out."""
    members: dict[tuple[str, BaseDistribution], list[int]] = defaultdict(list)
    for index, trial in enumerate(trials):
        for stored in dimensions:
            if stored in trial.distributions:
                members[stored, trial.distributions[stored]].append(index)
    columns: list[Values] = []
    regimes = []
    for (stored, distribution), indices in members.items():
        raw = np.array([distribution.to_internal_repr(trials[i].params[stored]) for i in indices])
        labels = _label(raw, isinstance(distribution, CategoricalDistribution))
        start = len(columns)
        for label in np.unique(labels):
            column = np.zeros(len(trials))
            column[np.array(indices)[labels == label]] = 1
            columns.append(column)
        if len(columns) - start > 1:
            regimes.append(slice(start, len(columns)))
    bins = np.stack(columns, axis=1) if columns else np.empty((len(trials), 0))
    return _Parameter(name, bins, tuple(regimes))


def _label(values: Values, categorical: bool) -> NDArray[np.intp]:
    """The bin of each value: its choice, or the fifth that it is in; fewer for few values."""
    if categorical:
        return np.unique(values, return_inverse=True)[1]
    bins = min(_BINS, len(values) // _BINS)
    edges = np.quantile(values, np.arange(1, bins) / bins) if bins > 1 else np.empty(0)
    return np.searchsorted(edges, values, side="left")


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _acceptable(
    trials: Sequence[FrozenTrial], searched: Sequence[FrozenTrial], objective: Target
) -> float:
    """The worst objective, as a cost, with which a trial's gap counts."""
    baselines = [objective(t) for t in trials if TrialAttributes.of(t).role is Role.BASELINE]
    known = [value for value in baselines if math.isfinite(value)]
    if known:
        return known[0]
    values = [objective(t) for t in searched if t.state is TrialState.COMPLETE]
    return float(np.median(values)) if values else math.nan


def _values(trial: FrozenTrial) -> list[float]:
    """A trial's value, or those of its epochs where it has none."""
    return [trial.value] if trial.value is not None else list(trial.intermediate_values.values())


def _gap(trial: FrozenTrial) -> float:
    if trial.state is not TrialState.COMPLETE:
        return math.nan
    gap = find_gap(TrialAttributes.of(trial).best)
    return math.nan if gap is None else gap
