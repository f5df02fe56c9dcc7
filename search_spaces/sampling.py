"""Draws points of a search space from an Optuna trial, parents before conditional children."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from search_spaces.points import select_representable
from search_spaces.space import Choice, Float, Int, Parameter, SearchSpace, Value

if TYPE_CHECKING:
    import optuna


def suggest(
    space: SearchSpace, trial: optuna.Trial, fixed: Mapping[str, Value] | None = None
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
        if name not in space.find_active(point):
            if name not in fixed:
                point.pop(name, None)
        elif name in recorded or name not in fixed:
            point[name] = _suggest(name, space.parameters[name], trial)
    return point


def build_grid(space: SearchSpace, points_per_range: int) -> dict[str, Sequence[Value]]:
    """Values of every parameter, conditional ones included; evenly spaced for a range."""
    return {
        n: _list_grid_values(space.parameters[n], points_per_range) for n in space.order_names()
    }


def _suggest(name: str, parameter: Parameter, trial: optuna.Trial) -> Value:
    match parameter:
        case Float():
            return trial.suggest_float(
                name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
            )
        case Int():
            return trial.suggest_int(
                name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
            )
        case Choice():
            choices: tuple[Value, ...] = parameter.values
            return cast(Value, trial.suggest_categorical(name, choices))


def _list_grid_values(parameter: Parameter, count: int) -> Sequence[Value]:
    match parameter:
        case Choice():
            return parameter.values
        case Int():
            stepped = range(parameter.low, parameter.high + 1, parameter.step)
            if len(stepped) <= count:
                return tuple(stepped)
            chosen = np.linspace(0, len(stepped) - 1, count).round().astype(int)
            return tuple(stepped[int(i)] for i in chosen)
        case Float(step=None):
            space = np.geomspace if parameter.log else np.linspace
            values = space(parameter.low, parameter.high, count)
            return tuple(float(v) for v in np.clip(values, parameter.low, parameter.high))
        case Float():
            assert parameter.step is not None
            steps = int((parameter.high - parameter.low) / parameter.step + 1e-9)
            chosen = np.unique(np.linspace(0, steps, min(count, steps + 1)).round())
            return tuple(float(parameter.low + i * parameter.step) for i in chosen)
