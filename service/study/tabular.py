"""Asks a sampler for points of which only some are recorded: each becomes the nearest recorded one.

The distance of two points is Gower's (1971, A General Coefficient of Similarity): the mean over the
parameters of the difference in units of the range, logarithmic where that is; 1 where the choices
differ, or where only one of the two has the parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search_spaces.points import select_representable
from search_spaces.sampling import build_distribution, suggest
from search_spaces.space import SearchSpace
from service.study.records import Params

Columns = NDArray[np.float64]
"""One value for each dimension of a space; NaN where the point does not have it."""


class TabularSampler(BaseSampler):
    """Samples without replacement: the recorded point nearest to the proposal of another sampler.

    Of equally near ones it takes the first. The study has the values of the recorded point, so that
    the other sampler learns from what was measured where. ``taken`` has the place of each trial's
    point.
    """

    def __init__(self, inner: BaseSampler, space: SearchSpace, points: Sequence[Params]) -> None:
        self._inner, self._space = inner, space
        self._stored = [select_representable(space, point) for point in points]
        self._table = _Table(space, self._stored)
        self.taken: dict[int, int] = {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the other sampler does."""
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: every value comes from :meth:`sample_independent`."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing, see above."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The value of the trial's recorded point, which is chosen when it is first asked for."""
        if trial.number not in self.taken:
            draft = _Draft(self._inner, study, trial)
            suggest(self._space, cast(Any, draft))  # a trial that is not in the study
            row = self._table.find_nearest(draft.values, self.taken.values())
            self.taken[trial.number] = row
        return self._stored[self.taken[trial.number]][param_name]

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the other sampler does."""
        self._inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """As the other sampler does."""
        self._inner.reseed_rng()


class _Draft:
    """What a sampler proposes for a trial, without a trace of it in the study.

    It takes the place of an :class:`optuna.Trial` and draws as that does.
    """

    def __init__(self, sampler: BaseSampler, study: Study, trial: FrozenTrial) -> None:
        self._sampler, self._study, self._trial = sampler, study, trial
        self._relative: Mapping[str, Any] | None = None
        self.values: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Any:
        return self._draw(name, FloatDistribution(low, high, step=step, log=log))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Any:
        return self._draw(name, IntDistribution(low, high, step=step, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._draw(name, CategoricalDistribution(choices))

    def _draw(self, name: str, distribution: BaseDistribution) -> Any:
        study, trial, sampler = self._study, self._trial, self._sampler
        if self._relative is None:
            space = sampler.infer_relative_search_space(study, trial)
            self._relative = sampler.sample_relative(study, trial, space)
        if name in self._relative:
            value = self._relative[name]
        else:
            value = sampler.sample_independent(study, trial, name, distribution)
        self.values[name] = value
        return value


class _Table:
    """The recorded points in units of the ranges of their space."""

    def __init__(self, space: SearchSpace, stored: Sequence[Mapping[str, Any]]) -> None:
        self._axes = {d.stored: build_distribution(d.plain) for d in space.dimensions}
        self._choice = np.array(
            [isinstance(a, CategoricalDistribution) for a in self._axes.values()]
        )
        self._rows = np.array([self._measure(values) for values in stored])

    def find_nearest(self, values: Mapping[str, Any], without: Sequence[int] | Any) -> int:
        """The place of the nearest point that is not among some places."""
        found = self._measure(values)
        distance = np.abs(self._rows - found)
        distance[:, self._choice] = distance[:, self._choice] > 0
        only_one = np.isnan(self._rows) != np.isnan(found)
        distance = np.where(only_one, 1.0, np.nan_to_num(distance))
        total = distance.sum(axis=1)
        total[list(without)] = np.inf
        return int(total.argmin())

    def _measure(self, values: Mapping[str, Any]) -> Columns:
        return np.array(
            [
                _place(axis, values[name]) if name in values else np.nan
                for name, axis in self._axes.items()
            ]
        )


def _place(axis: BaseDistribution, value: Any) -> float:
    """The place of a value in a range, from 0 to 1; of a choice its number."""
    if isinstance(axis, CategoricalDistribution):
        return float(axis.to_internal_repr(value))
    assert isinstance(axis, FloatDistribution | IntDistribution)
    low, high, at = (float(x) for x in (axis.low, axis.high, value))
    if axis.log:
        low, high, at = (float(np.log(x)) for x in (low, high, at))
    return (at - low) / (high - low) if high > low else 0.0
