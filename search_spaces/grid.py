"""The grid of a search space, whose points are computed one by one; nothing lists them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from search_spaces.dimensions import Dimension
from search_spaces.kinds import Auto, Choice, Float, Int, Plain, UnknownRangeError
from search_spaces.space import SearchSpace
from search_spaces.values import Value


@dataclass(frozen=True)
class Axis:
    """The values of one parameter in a grid, by position."""

    length: int
    at: Callable[[int], Value]


def build_axis(plain: Plain, points_per_range: int) -> Axis:
    """All choices, or evenly spaced values of a range, both of its bounds included."""
    match plain:
        case Choice():
            return Axis(len(plain.values), plain.values.__getitem__)
        case Int():
            low, step = plain.low, plain.step
            return _space_steps(
                (plain.high - low) // step, points_per_range, lambda i: low + i * step
            )
        case Float():
            return _space_range(plain, points_per_range)
        case Auto():
            raise UnknownRangeError


def iterate_grid(space: SearchSpace, points_per_range: int) -> Iterator[dict[str, Value]]:
    """Every combination of active parameters once; the last parameter varies fastest.

    Optuna's GridSampler also combines inactive parameters: it would repeat a point for every
    value of a parameter that is inactive there. It also ends a study by ``Study.stop``, which is
    an error outside ``optimize``.
    """
    names = space.order_names()
    axes = {d.stored: build_axis(d.plain, points_per_range) for d in space.dimensions}
    point: dict[str, Value] = {}
    chosen: list[tuple[int, Axis, int]] = []  # place in `names`, its axis, position in the axis
    start = 0
    while True:
        for place in range(start, len(names)):
            dimension = space.find_dimension(names[place], point)
            if dimension is not None:
                axis = axes[dimension.stored]
                point[dimension.name] = axis.at(0)
                chosen.append((place, axis, 0))
        yield dict(point)
        while chosen:
            place, axis, index = chosen.pop()
            del point[names[place]]
            if index + 1 < axis.length:
                point[names[place]] = axis.at(index + 1)
                chosen.append((place, axis, index + 1))
                start = place + 1
                break
        else:
            return


def choose_spread(
    space: SearchSpace,
    names: Iterable[str],
    points_per_range: int,
    count: int,
    others: Mapping[str, Value] | None = None,
) -> list[dict[str, Value]]:
    """At most ``count`` different points of the grid of some parameters, spread over it.

    The ``others`` have these values; conditions on parameters without a value count as met.
    """
    wanted = set(names)
    order = [d for d in space.dimensions if d.name in wanted]
    axes = {d.stored: build_axis(d.plain, points_per_range) for d in order}
    total = math.prod(axis.length for axis in axes.values())
    step = max(1, total // count)
    fixed = {n: v for n, v in (others or {}).items() if n not in wanted}
    spread = (
        _drop_inactive(space, order, _decode(axes, i * step), fixed)
        for i in range(min(count, total))
    )
    return [dict(items) for items in dict.fromkeys(tuple(point.items()) for point in spread)]


def _decode(axes: Mapping[str, Axis], number: int) -> dict[str, Value]:
    """The combination with this number, in which the last axis varies fastest."""
    point: dict[str, Value] = {}
    for name, axis in reversed(tuple(axes.items())):
        number, index = divmod(number, axis.length)
        point[name] = axis.at(index)
    return {name: point[name] for name in axes}


def _drop_inactive(
    space: SearchSpace,
    order: Sequence[Dimension],
    values: Mapping[str, Value],
    fixed: Mapping[str, Value],
) -> dict[str, Value]:
    """The values of active dimensions, by the names of their parameters."""
    active = dict(fixed)
    among = {*fixed, *(dimension.name for dimension in order)}
    for dimension in order:
        if space.find_dimension(dimension.name, active, among) is dimension:
            active[dimension.name] = values[dimension.stored]
    return {name: value for name, value in active.items() if name not in fixed}


def _space_steps(steps: int, count: int, at: Callable[[int], Value]) -> Axis:
    """Of the values 0 to ``steps`` all, or ``count`` that are evenly spaced."""
    if steps < count:
        return Axis(steps + 1, at)
    return Axis(count, lambda i: at(round(i * (steps / (count - 1)))))


def _space_range(parameter: Float, count: int) -> Axis:
    low, high, step = parameter.low, parameter.high, parameter.step
    if step is not None:
        steps = int((high - low) / step + 1e-9)
        return _space_steps(steps, count, lambda i: min(low + i * step, high))  # it may round up
    first, last = (math.log10(low), math.log10(high)) if parameter.log else (low, high)
    width = (last - first) / (count - 1)

    def at(index: int) -> float:
        if index in (0, count - 1):
            return high if index else low
        value = first + index * width
        return min(max(10.0**value if parameter.log else value, low), high)

    return Axis(count, at)
