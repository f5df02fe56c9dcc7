"""A constant number of epochs for every trial, then only the best go on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from optuna.study import Study


class TopKPruner(BasePruner):
    """Prunes a trial unless it is among the best ``k`` after the first ``epochs``.

    Egele et al. 2024 (arXiv 2404.04111) train all configurations for a constant number of epochs,
    and then the best of them to their end. Here no trial waits for others: a trial goes on while it
    is among the best ``k`` of those that have come so far, and is pruned at the next epoch after
    it has been overtaken. So at any time at most ``k`` trials go on.

    A trial counts with its best value in its first ``epochs``, also if it has ended before; one
    that failed does not count. Of equal trials that with the lower number is the better one. The
    decision follows from the study alone.
    """

    def __init__(self, epochs: int, k: int) -> None:
        self._epochs, self._k = epochs, k

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether ``k`` trials or more are better."""
        sign = -1 if study.direction is StudyDirection.MAXIMIZE else 1
        own = self._find_cost(trial, sign)
        if own is None:
            return False
        if math.isnan(own):
            return True
        better = 0
        for other in self._list_others(study, trial):
            cost = self._find_cost(other, sign)
            better += cost is not None and (cost, other.number) < (own, trial.number)
        return better >= self._k

    def _list_others(self, study: Study, trial: FrozenTrial) -> Iterator[FrozenTrial]:
        found = study.get_trials(deepcopy=False)
        return (t for t in found if t.number != trial.number and t.state is not TrialState.FAIL)

    def _find_cost(self, trial: FrozenTrial, sign: int) -> float | None:
        """The least cost in the first epochs; None before their end, nan if it was never finite."""
        values = trial.intermediate_values
        if self._epochs not in values and trial.state is not TrialState.COMPLETE:
            return None
        costs = [sign * v for e, v in values.items() if e <= self._epochs and not math.isnan(v)]
        return min(costs, default=math.nan)
