"""Points drawn from a sampler without writing them to the study, and whether they are new."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search_spaces.grid import iterate_grid
from search_spaces.kinds import Auto, Float
from search_spaces.points import select_representable
from search_spaces.sampling import build_distribution
from search_spaces.space import SearchSpace
from service.study.attributes import find_fixed, find_role, is_replicate
from service.study.records import Role

Drawn = Mapping[str, Any]
"""The parameters of a trial, by their names in the study and as it stores them."""

EXHAUSTED = "every point of the space was trained"
"""Why a search ends that has no point left."""

_MOST_VALUES = 1_000_000_000


class Draft:
    """Stands for a trial whose parameters are suggested, as ``optuna.Trial`` does it.

    Values that the trial was queued with come first. ``drawn`` are the names of those that the
    sampler chose.
    """

    def __init__(self, study: Study, trial: FrozenTrial, sampler: BaseSampler) -> None:
        self._study, self._trial, self._sampler = study, trial, sampler
        self.queued: Drawn = trial.system_attrs.get("fixed_params", {})
        space = sampler.infer_relative_search_space(study, trial)
        self._relative = sampler.sample_relative(study, trial, space)
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, BaseDistribution] = {}
        self.drawn: set[str] = set()

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number."""
        return float(self._suggest(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number."""
        return int(self._suggest(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices."""
        return self._suggest(name, CategoricalDistribution(choices))

    def take(self, space: SearchSpace, point: Drawn) -> None:
        """Have this point instead of what was drawn."""
        by_name = {d.stored: build_distribution(d.plain) for d in space.dimensions}
        self.params = dict(point)
        self.distributions = {name: by_name[name] for name in point}

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self.queued:
            value = self.queued[name]
        elif distribution.single():
            value = _get_only_value(distribution)
        else:
            value = self._choose(name, distribution)
            self.drawn.add(name)
        self.params[name], self.distributions[name] = value, distribution
        return value

    def _choose(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._relative and _contains(distribution, self._relative[name]):
            return self._relative[name]
        return self._sampler.sample_independent(self._study, self._trial, name, distribution)


def can_repeat(space: SearchSpace) -> bool:
    """Whether two draws may give the same point: not where a continuous one is always active."""
    return not any(_is_continuous(d.plain) and not d.plain.when for d in space.dimensions)


def is_finite(space: SearchSpace) -> bool:
    """Whether a space has no continuous parameter."""
    return not any(_is_continuous(d.plain) for d in space.dimensions)


def list_trained(study: Study, space: SearchSpace, but: int | None = None) -> list[Drawn]:
    """The points that a search has trained, or is training; not those of trial ``but``.

    The baseline is left out: it has no regularisation that the network brings along either.
    """
    return [
        identify(space, t.params, find_fixed(t))
        for t in study.get_trials(deepcopy=False)
        if t.state is not TrialState.WAITING and t.number != but and not _is_special(t)
    ]


def identify(space: SearchSpace, params: Drawn, fixed: Drawn) -> Drawn:
    """A point with what is fixed beside its parameters: controls turn off what is in no space."""
    named = space.name_values(params)
    beside = {f"{name} (fixed)": value for name, value in fixed.items() if name not in named}
    return {**params, **beside}


def _is_special(trial: FrozenTrial) -> bool:
    return is_replicate(trial) or find_role(trial) is Role.BASELINE


def is_exhausted(study: Study, space: SearchSpace) -> bool:
    """Whether every point of a space was trained."""
    if not is_finite(space):
        return False
    return find_new(space, list_trained(study, space)) is None


def find_new(space: SearchSpace, trained: Iterable[Drawn]) -> Drawn | None:
    """The first point of a finite space that was not trained; None if all were."""
    known = list(trained)
    for point in iterate_grid(space, _MOST_VALUES):
        stored = select_representable(space, point)
        if not is_among(stored, known):
            return stored
    return None


def is_among(point: Drawn, known: Iterable[Drawn]) -> bool:
    """Whether a point equals one of those that are known."""
    return any(_is_same(point, other) for other in known)


def _is_same(one: Drawn, other: Drawn) -> bool:
    if one.keys() != other.keys():
        return False
    return all(_is_same_value(value, other[name]) for name, value in one.items())


def _is_same_value(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)


def _is_continuous(plain: object) -> bool:
    return isinstance(plain, Auto) or (isinstance(plain, Float) and plain.step is None)


def _get_only_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return bool(distribution.low <= value <= distribution.high)
