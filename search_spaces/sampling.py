"""Draws points of a search space from an Optuna trial, parents before conditional children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search_spaces.dimensions import Dimension
from search_spaces.kinds import Auto, Choice, Float, Int, Plain, UnknownRangeError
from search_spaces.points import select_representable
from search_spaces.space import SearchSpace
from search_spaces.values import Value, encode, find_stored


class Suggesting(Protocol):
    """What values are drawn from: a trial of Optuna, or what stands for one."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices."""


def suggest(
    space: SearchSpace, trial: Suggesting, fixed: Mapping[str, Value] | None = None
) -> dict[str, Value]:
    """A point of the space, with active parameters only.

    Names in ``fixed`` take that value. If the parameter can represent the value, it is still
    suggested by the trial, so that the study records it (the caller has enqueued it there);
    otherwise, and for names outside of the space, it appears in the result only.
    """
    fixed = fixed or {}
    point: dict[str, Value] = dict(fixed)
    recorded = select_representable(space, fixed)
    for name in space.order_names():
        active = {dimension.name: dimension for dimension in space.find_dimensions(point)}
        dimension = active.get(name)
        if dimension is None:
            if name not in fixed:
                point.pop(name, None)
        elif dimension.stored in recorded or name not in fixed:
            point[name] = _suggest(dimension, trial)
    return point


def build_distribution(plain: Plain) -> BaseDistribution:
    """What a study stores of a parameter beside its values."""
    match plain:
        case Float():
            return FloatDistribution(plain.low, plain.high, step=plain.step, log=plain.log)
        case Int():
            return IntDistribution(plain.low, plain.high, step=plain.step, log=plain.log)
        case Choice():
            return CategoricalDistribution([encode(v) for v in plain.values])
        case Auto():
            raise UnknownRangeError


def _suggest(dimension: Dimension, trial: Suggesting) -> Value:
    name, plain, known = dimension.stored, dimension.plain, build_distribution(dimension.plain)
    match known:
        case FloatDistribution():
            return trial.suggest_float(name, known.low, known.high, step=known.step, log=known.log)
        case IntDistribution():
            return trial.suggest_int(name, known.low, known.high, step=known.step, log=known.log)
        case CategoricalDistribution():
            return find_stored(plain.choices(), trial.suggest_categorical(name, known.choices))
    raise AssertionError(known)
