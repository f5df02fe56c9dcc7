"""The folds of a cross-validated search in its study, and which trials lose their last folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as StudyTrialState

from service.study.attributes import TrialAttributes
from service.study.records import Metrics
from trainables.config.folds import FoldEpoch


@dataclass(frozen=True)
class FoldPlan:
    """How many folds a trial has, of at most how many epochs each, and what drops folds."""

    folds: int
    epochs: int
    pruner: BasePruner


class FoldStudy:
    """Decides after each fold of a trial whether its other folds are dropped.

    It keeps a study in memory whose steps are folds, from 1, and whose values are the objective at
    each fold's kept weights, so that a pruner of Optuna decides. All of it follows from the trials
    of the sweep's own study, in which steps are epochs.
    """

    def __init__(
        self, plan: FoldPlan, metric: str, direction: StudyDirection, known: Iterable[FrozenTrial]
    ) -> None:
        """``known`` are the trials so far, of which those that ended are compared with."""
        self._plan, self._metric = plan, metric
        self._study = optuna.create_study(
            direction=direction, pruner=plan.pruner, sampler=RandomSampler(seed=0)
        )
        self._trials: dict[int, optuna.Trial] = {}
        self._told: dict[int, int] = {}
        for trial in known:
            self.end(trial)

    def get_step(self, place: FoldEpoch) -> int:
        """The step of an epoch in the sweep's study: later folds have larger ones."""
        return (place.fold - 1) * self._plan.epochs + place.epoch

    def average(self, folds: Sequence[Metrics]) -> float:
        """The objective over the folds that have ended."""
        return fmean(fold[self._metric] for fold in folds)

    def drops(self, number: int, folds: Sequence[Metrics]) -> bool:
        """Whether a running trial ends after these folds, of which there is at least one."""
        if len(folds) >= self._plan.folds:
            return False
        return self._tell(number, folds).should_prune()

    def explain(self, folds: int) -> str:
        """Why a trial ended after so many folds."""
        return f"dropped after fold {folds} of {self._plan.folds}"

    def end(self, trial: FrozenTrial) -> None:
        """Compare later trials with one that is complete; forget any other that has ended."""
        folds = TrialAttributes.of(trial).folds
        complete = trial.state is StudyTrialState.COMPLETE
        if not folds or not (complete or trial.number in self._trials):
            return
        told = self._tell(trial.number, folds)
        for name, excess in trial.constraints.items():
            told.set_constraint(name, excess)
        self._study.tell(told, trial.value if complete else None, state=trial.state)
        del self._trials[trial.number], self._told[trial.number]

    def _tell(self, number: int, folds: Sequence[Metrics]) -> optuna.Trial:
        if number not in self._trials:
            self._trials[number], self._told[number] = self._study.ask(), 0
        trial = self._trials[number]
        for fold in range(self._told[number], len(folds)):
            trial.report(folds[fold][self._metric], fold + 1)
        self._told[number] = len(folds)
        return trial
