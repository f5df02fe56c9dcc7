"""Rules that drop the last folds of a trial, as pruners of Optuna whose steps are folds.

The first two are of Bergman, Purucker and Hutter: Don't Waste Your Time: Early Stopping
Cross-Validation (AutoML 2024, arXiv 2405.03389).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from statistics import fmean

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial


class _AgainstBest(BasePruner, ABC):
    """Compares the mean of a trial's folds so far with the best trial, of which all are known."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the mean is worse than the bound; never before a trial is complete."""
        try:
            best = study.best_trial
        except ValueError:  # none is complete, or none is feasible
            return False
        if not trial.intermediate_values or not best.intermediate_values:
            return False
        sign = -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0
        costs = [sign * value for _, value in sorted(best.intermediate_values.items())]
        mean = sign * fmean(trial.intermediate_values.values())
        return mean > self.bound(costs, len(trial.intermediate_values))

    @abstractmethod
    def bound(self, costs: list[float], folds: int) -> float:
        """The largest mean of so many folds that goes on.

        ``costs`` are the best trial's, fold by fold, of which low ones are good.
        """


class ForgivingPruner(_AgainstBest):
    """The bound is the worst fold of the best trial."""

    def bound(self, costs: list[float], folds: int) -> float:
        """The largest."""
        return max(costs)


class AggressivePruner(_AgainstBest):
    """The bound is the mean of the best trial over all folds."""

    def bound(self, costs: list[float], folds: int) -> float:
        """The mean."""
        return fmean(costs)


class PairedPruner(_AgainstBest):
    """The bound is the mean of the best trial over the same folds: some folds are harder."""

    def bound(self, costs: list[float], folds: int) -> float:
        """The mean of the first ones."""
        return fmean(costs[:folds])
