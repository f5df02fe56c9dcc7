"""Optuna's TPE in groups of parameters, with what all groups need made once for each suggestion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

_MODELLED = (TrialState.COMPLETE, TrialState.PRUNED)


class GroupingTpeSampler(TPESampler):
    """``TPESampler(group=True)`` of Optuna 5.0 for one objective, which suggests the same.

    It divides the parameters into groups that occur together, and samples each by a model of its
    own. Optuna's own takes a trial's ranges into account again for every trial that has the same
    ones, and divides the trials into good and other ones anew for each group.
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
        self._split: tuple[list[FrozenTrial], list[FrozenTrial]] | None = None

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of all groups: trials that end meanwhile are in none of their models."""
        self._split = None
        return super().sample_relative(study, trial, search_space)

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._split is None:
            trials = study._get_trials(deepcopy=False, states=_MODELLED, use_cache=True)
            self._split = _split_trials(study, trials, default_gamma(len(trials)))
        good, others = (
            self._build_parzen_estimator(study, search_space, part, handle_below=is_good)
            for part, is_good in zip(self._split, (True, False), strict=True)
        )
        samples = good.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(samples, self._compute_acquisition_func(samples, good, others))
        return {n: dist.to_external_repr(best[n]) for n, dist in search_space.items()}

    def _get_internal_repr(
        self, trials: Sequence[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, NDArray[np.float64]]:
        names = search_space.keys()
        rows = [params for params in (t.params for t in trials) if names <= params.keys()]
        return {
            name: np.asarray([dist.to_internal_repr(row[name]) for row in rows])
            for name, dist in search_space.items()
        }


class _DistinctGroups(_GroupDecomposedSearchSpace):
    """``TPESampler`` of Optuna 5.0 has one of these in the attribute that is set above."""

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        trials = study._get_trials(deepcopy=False, states=_MODELLED, use_cache=use_cache)
        distinct: dict[tuple[str, ...], dict[str, BaseDistribution]] = {}
        for trial in trials:
            distinct.setdefault(tuple(trial.distributions), trial.distributions)
        found = _SearchSpaceGroup()
        for distributions in distinct.values():
            found.add_distributions(distributions)
        return found
