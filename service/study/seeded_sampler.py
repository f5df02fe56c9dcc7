"""Asks a spec's sampler such that its suggestions follow from the study, the seed and the number.

Optuna's samplers keep their random state, and some of them a model, in memory: a resumed sweep
would be suggested other points than an undisturbed one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from search_spaces.sampling import suggest
from service.study.attributes import TrialAttributes, find_fixed, is_paused
from service.study.compat import ViewedStudy, find_whole
from service.study.drawn_points import (
    Draft,
    Drawn,
    can_repeat,
    find_new,
    identify,
    is_among,
    is_finite,
    list_trained,
)
from service.study.promotion import PromotingPruner
from service.study.sample_view import TrialSelection, view_trials
from service.study.sampled_space import read_space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search_spaces.space import SearchSpace
    from service.spec.samplers import SamplerConfig


_OF_SAMPLER, _OF_FINITE, _ATTEMPTS = 4, 16, 64
"""How often a point is drawn until it is new: by the sampler, in a finite space, and in all."""


def seed_trial(seed: int, number: int, attempt: int = 0) -> int:
    """The sampler's seed for one trial of a sweep with this seed, and an attempt at its point."""
    sources = [seed, number, attempt] if attempt else [seed, number]
    return int(np.random.SeedSequence(sources).generate_state(1)[0])


def count_avoided(study: Study) -> int:
    """1 if the trial that was drawn last got another point than a repeat, else 0."""
    sampler = study.sampler
    return sampler.avoided if isinstance(sampler, ResumableSampler) else 0


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
        self._draft: Draft | None = None
        self.avoided = 0
        """1 if the last trial got another point than one that was trained already, else 0."""

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Prepare the sampler for this trial."""
        self._draft, self._view, self.avoided = None, None, 0
        self._prepare(show_paused_as_pruned(study), trial, 0)

    def _prepare(self, study: Study, trial: FrozenTrial, attempt: int) -> None:
        seed = seed_trial(self._seed, trial.number, attempt)
        self._inner = self._config.prepare(self._inner, seed)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the spec's sampler does; all parameters where it might draw a point again."""
        seen = self._look_at(study)
        space = read_space(find_whole(study))
        if space is None or not can_repeat(space):
            return self._inner.infer_relative_search_space(seen, trial)
        self._draft = self._draw_new(seen, trial, space)
        return self._draft.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the spec's sampler does, or what was drawn already."""
        if self._draft is not None:
            return self._draft.params
        seen = self._look_at(study)
        return self._inner.sample_relative(seen, trial, dict(search_space))

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

    def _draw_new(self, study: Study, trial: FrozenTrial, space: SearchSpace) -> Draft:
        """A point that was not trained: of the sampler, or at random if it has no other.

        Where the trial was queued with values, and no point with these is left, it is a repeat.
        """
        fixed = TrialAttributes.of(trial).fixed
        trained = list_trained(find_whole(study), space, trial.number)
        for attempt in range(_OF_FINITE if is_finite(space) else _ATTEMPTS):
            if attempt:
                self._prepare(study, trial, attempt)
            sampler = self._inner
            if attempt >= _OF_SAMPLER:
                sampler = RandomSampler(seed_trial(self._seed, trial.number, attempt))
            draft = Draft(study, trial, sampler)
            suggest(space, draft, fixed)
            point = identify(space, draft.params, find_fixed(trial))
            if not draft.drawn or not is_among(point, trained):
                break
            self.avoided = 1
        else:
            self.avoided = int(self._take_any_new(draft, space, trained))
        return draft

    def _take_any_new(self, draft: Draft, space: SearchSpace, trained: Sequence[Drawn]) -> bool:
        """Give a draft the first point that was not trained, if its space has one and it may."""
        found = find_new(space, trained) if is_finite(space) and not draft.queued else None
        if found is not None:
            draft.take(space, found)
        return found is not None

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
