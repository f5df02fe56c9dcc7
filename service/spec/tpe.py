"""Optuna's TPE, with the groups of its parameters found once for each set of ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.samplers import TPESampler
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study


class GroupingTpeSampler(TPESampler):
    """``TPESampler(group=True)``, which suggests the same.

    It divides the parameters into groups that occur together, in which Optuna's own takes a
    trial's ranges into account again for every trial that has the same ones.
    """

    def __init__(self, *, seed: int, n_startup_trials: int, n_ei_candidates: int) -> None:
        super().__init__(
            seed=seed,
            n_startup_trials=n_startup_trials,
            n_ei_candidates=n_ei_candidates,
            multivariate=True,
            group=True,
        )
        self._group_decomposed_search_space = _DistinctGroups(include_pruned=True)


class _DistinctGroups(_GroupDecomposedSearchSpace):
    """``TPESampler`` of Optuna 5.0 has one of these in the attribute that is set above."""

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = study._get_trials(deepcopy=False, states=states, use_cache=use_cache)
        distinct: dict[tuple[str, ...], dict[str, BaseDistribution]] = {}
        for trial in trials:
            distinct.setdefault(tuple(trial.distributions), trial.distributions)
        found = _SearchSpaceGroup()
        for distributions in distinct.values():
            found.add_distributions(distributions)
        return found
