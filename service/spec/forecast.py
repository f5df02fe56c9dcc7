"""A trial is pruned when the improvements that were seen so far would not make it the best one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from optuna.study import Study

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class ForecastPruner(BasePruner):
    """Prunes a trial that would stay worse than the best with the largest improvement known.

    That is the largest one, among the trials that have ended, from the best value until the same
    epoch to the best value of all. A trial that lags, as a strongly regularised one does at first,
    goes on as long as some other trial has caught up as much from there. ``margin`` is a distance
    by which a forecast may miss the best value, as a share of the distance from the best complete
    trial to the median one. Nothing is pruned before ``startup`` trials are complete. The decision
    follows from the study alone.
    """

    def __init__(self, startup: int, warm_up: int, margin: float) -> None:
        self._startup, self._warm_up, self._margin = startup, warm_up, margin
        self._known: dict[int, _Curve] = {}
        self._study = ""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the forecast of the trial is out of reach of the best complete one."""
        epoch = trial.last_step
        if epoch is None or epoch < self._warm_up:
            return False
        sign = -1 if study.direction is StudyDirection.MAXIMIZE else 1
        ended = list(self._list_ended(study, sign))
        finals = [curve.last for state, curve in ended if state is TrialState.COMPLETE]
        if len(finals) < max(1, self._startup):
            return False
        best = min(finals)
        allowed = self._margin * (median(finals) - best)
        own = _Curve(trial, sign).last
        if math.isnan(own):
            return True
        return own - max(curve.improve_from(epoch) for _, curve in ended) > best + allowed

    def _list_ended(self, study: Study, sign: int) -> Iterator[tuple[TrialState, _Curve]]:
        if study.study_name != self._study:
            self._study, self._known = study.study_name, {}
        for trial in study.get_trials(deepcopy=False, states=_ENDED):
            curve = self._known.get(trial.number)
            if curve is None:
                curve = self._known[trial.number] = _Curve(trial, sign)
            if not math.isnan(curve.last):
                yield trial.state, curve


class _Curve:
    """The least cost of a trial up to each of its epochs; nan as long as there is none."""

    def __init__(self, trial: FrozenTrial, sign: int) -> None:
        values = sorted(trial.intermediate_values.items())
        self._epochs: NDArray[np.int64] = np.array([epoch for epoch, _ in values], np.int64)
        costs = np.array([sign * value for _, value in values], np.float64)
        self._costs = np.fmin.accumulate(costs) if len(costs) else costs
        self.last = float(self._costs[-1]) if len(costs) else math.nan

    def improve_from(self, epoch: int) -> float:
        """By how much the cost still fell after an epoch; 0 if the trial was over by then."""
        place = int(np.searchsorted(self._epochs, epoch, side="right")) - 1
        before = float(self._costs[place]) if place >= 0 else math.nan
        return 0.0 if math.isnan(before) else before - self.last
