"""Whether a search has found enough: what further trials may gain is too small to matter.

The expected gain is estimated without a model. Of ``n`` trials, the best of a random subset of
``m`` has an expected cost that follows from their order (the hypergeometric distribution). Between
``m`` = n²/(n + r) and n trials it fell by as much as it will at most fall between n and n + r, if
costs are alike and independent: the numbers of trials have the same ratio, and gains shrink. A
sampler that learns draws worse trials first, so that the estimate is too high and the search goes
on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from service.spec.model import SweepSpec
from service.study.attributes import find_role
from service.study.ranking import Ranking
from service.study.records import Role
from service.study.study import SweepStudy
from service.study.trial_reader import list_frozen_trials, read_trial

AT_LEAST = 20
"""Trials of the sampler that have ended before a search may end."""
MARGIN = 0.25
"""The expected gain at which a search ends, as a share of what its confirmation looks for.

The estimate is asked after every trial, and a search ends where it is low by chance as well. In
simulated random searches over 1 to 5 parameters (40 and 100 trials), the best was worse by 0.2 to
1.0 % of the loss on average with this margin, by 0.3 to 2.4 % with 1.
"""
_SHARE, _POINTS = 0.02, 0.005


@dataclass(frozen=True)
class Enough:
    """Says why a search may end; it follows from the study alone.

    ``min_effect`` is the smallest difference that the confirmation looks for; None is its default.
    A search that was given more trials is never ended: somebody wants them.
    """

    study: SweepStudy
    ranking: Ranking
    min_effect: float | None

    @classmethod
    def of(cls, spec: SweepSpec, study: SweepStudy) -> Enough | None:
        """The rule of a spec, if it has one."""
        if spec.search.stop is None:
            return None
        effect = spec.confirm.min_effect if spec.confirm else None
        return cls(study, Ranking.of(spec), effect)

    def __call__(self) -> str | None:
        """Why no further trial is worth its training; None if one may be."""
        attributes, trials = self.study.attributes, list_frozen_trials(self.study.optuna)
        started = sum(find_role(t) not in _LATER for t in trials)
        left = (attributes.budget or 0) - started
        if left <= 0 or attributes.budget != attributes.planned:
            return None
        costs = sorted(_list_costs(trials, self.ranking.sign))
        bound = self._find_bound(trials)
        if len(costs) < AT_LEAST or bound is None:
            return None
        gain = expect_gain(costs, left)
        if gain >= MARGIN * bound:
            return None
        return (
            f"{left} more trials would improve {self.ranking.metric} by less than {gain:.2g} on "
            f"average, and the confirmation looks for {bound:.2g}, more than four times as much"
        )

    def _find_bound(self, trials: Sequence[FrozenTrial]) -> float | None:
        if self.min_effect is not None:
            return self.min_effect
        if self.ranking.sign < 0:
            return _POINTS
        controls = [read_trial(t) for t in trials if find_role(t) in (Role.BASELINE, Role.CONTROL)]
        control = self.ranking.find_control(controls)
        return None if control is None or control.value is None else _SHARE * abs(control.value)


_LATER = (Role.REPLICATE, Role.REMOVAL, Role.AUDIT, Role.CONFIRM)


def expect_gain(costs: Sequence[float], more: int) -> float:
    """How much ``more`` trials improve the best of these sorted ``costs``, at most, on average."""
    count = len(costs)
    size = max(1, count * count // (count + more))
    return max(0.0, expect_best(costs, size) - costs[0])


def expect_best(costs: Sequence[float], size: int) -> float:
    """The mean of the least cost of a random subset of this ``size``; the costs are sorted."""
    count, expected, left = len(costs), 0.0, 1.0
    for place, cost in enumerate(costs):
        chance = min(1.0, size / (count - place))  # that it is in the subset, if no better one is
        expected += left * chance * cost
        left *= 1 - chance
        if left <= 0:
            break
    return expected


def _list_costs(trials: Sequence[FrozenTrial], sign: float) -> Iterator[float]:
    """Of the sampler's trials that have ended: a pruned one has the best that it has shown."""
    for trial in trials:
        if find_role(trial) is not Role.SEARCH or any(c > 0 for c in trial.constraints.values()):
            continue
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            yield sign * trial.value
        elif trial.state is TrialState.PRUNED:
            shown = [sign * v for v in trial.intermediate_values.values() if math.isfinite(v)]
            if shown:
                yield min(shown)
