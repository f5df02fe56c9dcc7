"""The grid of a search space, whose points are computed one by one; nothing lists them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from search_spaces.space import Choice, Float, Int, Parameter, SearchSpace
from search_spaces.values import Value


@dataclass(frozen=True)
class Axis:
    """The values of one parameter in a grid, by position."""

    length: int
    at: Callable[[int], Value]


def build_axis(parameter: Parameter, points_per_range: int) -> Axis:
    """All choices, or evenly spaced values of a range, both of its bounds included."""
    match parameter:
        case Choice():
            return Axis(len(parameter.values), parameter.values.__getitem__)
        case Int():
            low, step = parameter.low, parameter.step
            return _space_steps(
                (parameter.high - low) // step, points_per_range, lambda i: low + i * step
            )
        case Float():
            return _space_range(parameter, points_per_range)


def iterate_grid(space: SearchSpace, points_per_range: int) -> Iterator[dict[str, Value]]:
    """Every combination of active parameters once; the last parameter varies fastest.

    Optuna's GridSampler also combines inactive parameters: it would repeat a point for every
    value of a parameter that is inactive there. It also ends a study by ``Study.stop``, which is
    an error outside ``optimize``.
    """
    names = space.order_names()
    axes = {n: build_axis(space.parameters[n], points_per_range) for n in names}
    point: dict[str, Value] = {}
    chosen: list[tuple[int, int]] = []  # positions in `names` and in the axis of that name
    start = 0
    while True:
        for place in range(start, len(names)):
            name = names[place]
            if space.is_active(name, point):
                point[name] = axes[name].at(0)
                chosen.append((place, 0))
        yield dict(point)
        while chosen:
            place, index = chosen.pop()
            axis = axes[names[place]]
            del point[names[place]]
            if index + 1 < axis.length:
                point[names[place]] = axis.at(index + 1)
                chosen.append((place, index + 1))
                start = place + 1
                break
        else:
            return


def choose_spread(
    space: SearchSpace, names: Iterable[str], points_per_range: int, count: int
) -> list[dict[str, Value]]:
    """At most ``count`` different points of the grid of some parameters, spread over it.

    Conditions on parameters that are not among ``names`` count as met.
    """
    wanted = set(names)
    order = [n for n in space.order_names() if n in wanted]
    axes = {n: build_axis(space.parameters[n], points_per_range) for n in order}
    total = math.prod(axis.length for axis in axes.values())
    step = max(1, total // count)
    spread = (_drop_inactive(space, _decode(axes, i * step)) for i in range(min(count, total)))
    return [dict(items) for items in dict.fromkeys(tuple(point.items()) for point in spread)]


def _decode(axes: Mapping[str, Axis], number: int) -> dict[str, Value]:
    """The combination with this number, in which the last axis varies fastest."""
    point: dict[str, Value] = {}
    for name, axis in reversed(tuple(axes.items())):
        number, index = divmod(number, axis.length)
        point[name] = axis.at(index)
    return {name: point[name] for name in axes}


def _drop_inactive(space: SearchSpace, point: Mapping[str, Value]) -> dict[str, Value]:
    active: dict[str, Value] = {}
    for name in point:
        if space.is_active(name, active, among=point):
            active[name] = point[name]
    return active


def _space_steps(steps: int, count: int, at: Callable[[int], Value]) -> Axis:
    """Of the values 0 to ``steps`` all, or ``count`` that are evenly spaced."""
    if steps < count:
        return Axis(steps + 1, at)
    return Axis(count, lambda i: at(round(i * (steps / (count - 1)))))


def _space_range(parameter: Float, count: int) -> Axis:
    low, high, step = parameter.low, parameter.high, parameter.step
    if step is not None:
        return _space_steps(int((high - low) / step + 1e-9), count, lambda i: low + i * step)
    first, last = (math.log10(low), math.log10(high)) if parameter.log else (low, high)
    width = (last - first) / (count - 1)

    def at(index: int) -> float:
        if index in (0, count - 1):
            return high if index else low
        value = first + index * width
        return min(max(10.0**value if parameter.log else value, low), high)

    return Axis(count, at)
