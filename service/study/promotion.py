"""Pauses trials and promotes the best: asynchronous successive halving in its original form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from service.study.attributes import find_promotion, is_paused, is_replicate

_LEFT = (TrialState.WAITING, TrialState.FAIL)


class PromotingPruner(BasePruner):
    """Says at which epochs a trial is paused, and which paused trial goes on next.

    Li et al. 2020 (arXiv 1810.05934). A trial that reaches a rung (``min_epochs`` times a power of
    ``reduction_factor``) goes on if it is in the best 1/``reduction_factor`` of those that have
    reached it; otherwise it is paused. It goes on from its checkpoint when it ranks there, because
    others have come since. When no new trial follows, at least the best ``k`` of each rung go on,
    so that a search of any size trains ``k`` of them to their end.

    A trial counts with its best value up to the rung, also if it has ended before; one that failed,
    and replicates, do not count. Everything follows from the study. No trial is pruned.
    """

    def __init__(self, min_epochs: int, reduction_factor: int, k: int, max_epochs: int) -> None:
        self._factor, self._k = reduction_factor, k
        self._rungs = tuple(_list_rungs(min_epochs, reduction_factor, max_epochs))

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Never: the session asks whether to pause."""
        return False

    def pauses(self, study: Study, trial: FrozenTrial, *, last: bool) -> bool:
        """Whether a running trial is paused at its last epoch; ``last``: no new trial follows."""
        rung = trial.last_step
        if rung not in self._rungs or find_promotion(trial) >= rung:
            return False
        return trial.number not in self._list_best(study, rung, last)

    def choose(self, study: Study, *, last: bool) -> int | None:
        """The number of the paused trial that goes on next, of the highest rung; None if none does.

        ``last`` says that no new trial follows.
        """
        paused = {t.number: t for t in study.get_trials(deepcopy=False) if is_paused(t)}
        for rung in reversed(self._rungs):
            waiting = {n for n, t in paused.items() if t.last_step == rung}
            if waiting:
                best = self._list_best(study, rung, last)
                found = next((n for n in best if n in waiting), None)
                if found is not None:
                    return found
        return None

    def _list_best(self, study: Study, rung: int, last: bool) -> Sequence[int]:
        """The numbers of those that go on from a rung, the best first."""
        sign = -1 if study.direction is StudyDirection.MAXIMIZE else 1
        found = sorted(
            (_find_cost(t, rung, sign), t.number)
            for t in study.get_trials(deepcopy=False)
            if _has_reached(t, rung)
        )
        count = max(len(found) // self._factor, self._k if last else 0)
        return [number for cost, number in found[:count] if cost < math.inf]


def _list_rungs(first: int, factor: int, max_epochs: int) -> Iterator[int]:
    while first < max_epochs:
        yield first
        first *= factor


def _has_reached(trial: FrozenTrial, rung: int) -> bool:
    if trial.state in _LEFT or is_replicate(trial):
        return False
    return rung in trial.intermediate_values or trial.state is TrialState.COMPLETE


def _find_cost(trial: FrozenTrial, rung: int, sign: int) -> float:
    """The least cost up to a rung; infinite if it was never a number."""
    values = trial.intermediate_values.items()
    return min((sign * v for e, v in values if e <= rung and not math.isnan(v)), default=math.inf)
