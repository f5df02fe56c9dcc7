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
from service.study.sample_view import TrialSelection, view_trials

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
        self._selection = None if config.shown is None else TrialSelection(config.shown)
        self._view: Study | None = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Prepare the sampler for this trial."""
        self._view = None
        self._inner = self._config.prepare(self._inner, seed_trial(self._seed, trial.number))
        self._inner.before_trial(show_paused_as_pruned(study), trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the spec's sampler does."""
        return self._inner.infer_relative_search_space(self._look_at(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the spec's sampler does."""
        return self._inner.sample_relative(self._look_at(study), trial, dict(search_space))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As the spec's sampler does."""
        return self._inner.sample_independent(
            self._look_at(study), trial, param_name, param_distribution
        )

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the spec's sampler does."""
        self._inner.after_trial(show_paused_as_pruned(study), trial, state, values)

    def _look_at(self, study: Study) -> Study:
        """What the sampler is shown of the study, from the first look at it for a trial on."""
        seen = show_paused_as_pruned(study)
        if self._selection is None:
            return seen
        if self._view is None:
            trials = seen.get_trials(deepcopy=False)
            self._view = view_trials(seen, self._selection.select(trials, seen.direction))
        return self._view

    def reseed_rng(self) -> None:
        """Do nothing: every trial has a seed of its own."""
