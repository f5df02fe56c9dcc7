"""Asks a spec's sampler such that its suggestions follow from the study, the seed and the number.

Optuna's samplers keep their random state, and some of them a model, in memory: a resumed sweep
would be suggested other points than an undisturbed one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from service.study.attributes import is_paused
from service.study.compat import ViewedStudy
from service.study.promotion import PromotingPruner

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from service.spec.samplers import SamplerConfig


def seed_trial(seed: int, number: int) -> int:
    """The sampler's seed for one trial of a sweep with this seed."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def show_paused_as_pruned(study: Study) -> Study:
    """The study as a sampler is to see it: a paused trial has shown what a pruned one has.

    Optuna knows it as running, and would learn nothing from it.
    """
    if not isinstance(study.pruner, PromotingPruner):
        return study
    return ViewedStudy(study, lambda t: _end(t) if is_paused(t) else t)


def _end(trial: FrozenTrial) -> FrozenTrial:
    ended = copy.copy(trial)
    ended.state = TrialState.PRUNED
    return ended


class ResumableSampler(BaseSampler):
    """The sampler of a spec, prepared for each trial by the trial's number.

    For samplers that keep no state of their own, a suggestion depends on the ``seed``, the trial's
    number and the trials in the study, and not on the process that asks.
    """

    def __init__(self, config: SamplerConfig, seed: int) -> None:
        """Build the sampler.

        Raises:
            ContractError: a user-defined class cannot be imported or does not accept an option.
        """
        self._config, self._seed = config, seed
        self._inner = config.build(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Prepare the sampler for this trial."""
        self._inner = self._config.prepare(self._inner, seed_trial(self._seed, trial.number))
        self._inner.before_trial(show_paused_as_pruned(study), trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the spec's sampler does."""
        return self._inner.infer_relative_search_space(show_paused_as_pruned(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the spec's sampler does."""
        seen = show_paused_as_pruned(study)
        return self._inner.sample_relative(seen, trial, dict(search_space))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As the spec's sampler does."""
        seen = show_paused_as_pruned(study)
        return self._inner.sample_independent(seen, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the spec's sampler does."""
        self._inner.after_trial(show_paused_as_pruned(study), trial, state, values)

    def reseed_rng(self) -> None:
        """Do nothing: every trial has a seed of its own."""
