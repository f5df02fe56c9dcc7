"""Two rules that drop the last folds of a trial, as pruners of Optuna whose steps are folds.

Bergman, Purucker and Hutter: Don't Waste Your Time: Early Stopping Cross-Validation (AutoML 2024,
arXiv 2405.03389).
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
        costs = [sign * value for value in best.intermediate_values.values()]
        return sign * fmean(trial.intermediate_values.values()) > self.bound(costs)

    @abstractmethod
    def bound(self, costs: list[float]) -> float:
        """The largest mean that goes on, by the best trial's folds, of which low ones are good."""


class ForgivingPruner(_AgainstBest):
    """The bound is the worst fold of the best trial."""

    def bound(self, costs: list[float]) -> float:
        """The largest."""
        return max(costs)


class AggressivePruner(_AgainstBest):
    """The bound is the mean of the best trial."""

    def bound(self, costs: list[float]) -> float:
        """The mean."""
        return fmean(costs)
