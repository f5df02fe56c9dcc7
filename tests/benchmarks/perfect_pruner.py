"""A pruner that knows how each recorded training ends: what no real one can do better."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from service.replay.recorded_trainings import Standing, prepare
from service.replay.table_file import read_table
from service.replay.variants import read_stopping
from service.study.attributes import TrialAttributes
from service.study.records import Params
from tests.benchmarks.histories import list_tables


class PerfectPruner(BasePruner):
    """After so many ``epochs`` it prunes each trial that would not end as the best one so far.

    It is never wrong. What it spends is what a search costs whose pruner judges after that many
    epochs, however it judges. Only for searches on the recorded sweeps of this folder.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether a complete trial is as good as this one will be."""
        own = _find_end(trial)
        if own is None or (trial.last_step or 0) < self._epochs:
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ends = (_find_end(other) for other in complete)
        return any(end is not None and end <= own for end in ends)


def _find_end(trial: FrozenTrial) -> Standing | None:
    """How a trial ends; None for the baseline, which a search has anyway."""
    params = TrialAttributes.of(trial).params
    if params is None or 1 not in trial.intermediate_values:
        return None
    return _read_ends().get(_make_key(params, trial.intermediate_values[1]))


@cache
def _read_ends() -> Mapping[Hashable, Standing]:
    found: dict[Hashable, Standing] = {}
    for table in list_tables():
        courses = prepare(read_table(table), read_stopping("patience"))
        for params, course in zip(courses.points, courses.drawn, strict=True):
            (first,) = course.reports[0].metrics.values()
            found[_make_key(params, first)] = course.standing
    return found


def _make_key(params: Params, first: float) -> Hashable:
    """Tables of one space have the same points; the first epoch tells them apart."""
    return (*sorted(params.items()), first)
