"""Points of a search space: which values a study can represent, and validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.space import SearchSpace
from search_spaces.values import Value, encode, thaw
from search_spaces.words import did_you_mean, join_names, show


def select_representable(space: SearchSpace, point: Mapping[str, Value]) -> dict[str, Any]:
    """The part of a point that a study can represent, as it stores it.

    These are active parameters with values in range.
    """
    names = (n for n in space.find_active(point) if n in point)
    return {n: encode(point[n]) for n in names if space.parameters[n].contains(point[n])}


def check_point(space: SearchSpace, point: Mapping[str, Value]) -> list[tuple[str, str]]:
    """Problems of an enqueued point as (name, message); the point may be incomplete."""
    problems: list[tuple[str, str]] = []
    active = frozenset(space.find_active(point))
    for name, value in point.items():
        parameter = space.parameters.get(name)
        if parameter is None:
            hint = did_you_mean(name, space.parameters)
            problems.append((name, f"not in the space ({join_names(space.parameters)}){hint}"))
        elif not parameter.contains(value):
            problems.append((name, f"{show(thaw(value))} is not {parameter.describe()}"))
        elif name not in active and all(p in point for p in parameter.when):
            problems.append((name, "its condition `when` is not met at this point"))
    return problems
