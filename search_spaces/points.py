"""Points of a search space: which values a study can represent, and validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.dimensions import Dimension
from search_spaces.kinds import list_parents
from search_spaces.space import SearchSpace
from search_spaces.unknown_names import did_you_mean, join_names, show
from search_spaces.values import Value, encode, thaw


def select_representable(space: SearchSpace, point: Mapping[str, Value]) -> dict[str, Any]:
    """The part of a point that a study can represent, by its names there and as it stores it.

    These are active parameters with values in range.
    """
    active = (d for d in space.find_dimensions(point) if d.name in point)
    return {d.stored: encode(point[d.name]) for d in active if d.plain.contains(point[d.name])}


def check_point(space: SearchSpace, point: Mapping[str, Value]) -> list[tuple[str, str]]:
    """Problems of an enqueued point as (name, message); the point may be incomplete."""
    active = {dimension.name: dimension for dimension in space.find_dimensions(point)}
    found = ((name, _check_value(space, point, name, active.get(name))) for name in point)
    return [(name, text) for name, text in found if text]


def _check_value(
    space: SearchSpace, point: Mapping[str, Value], name: str, active: Dimension | None
) -> str:
    """What is wrong with one value of a point; empty if nothing is."""
    parameter, value = space.parameters.get(name), point[name]
    if parameter is None:
        hint = did_you_mean(name, space.parameters)
        return f"not in the space ({join_names(space.parameters)}){hint}"
    if not parameter.contains(value):
        return f"{show(thaw(value))} is not {parameter.describe()}"
    if active is not None and not active.plain.contains(value):
        where = f" where {active.condition}"
        return f"{show(thaw(value))} is not {active.plain.describe()}{where}"
    if active is None and all(parent in point for parent in list_parents(parameter)):
        return "its condition `when` is not met at this point"
    return ""
