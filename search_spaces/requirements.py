"""What a condition requires of all parameters above it, to find conditions that exclude others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from search_spaces.dimensions import Dimension
from search_spaces.values import Value, identify

Key = tuple[bool, Any]
Requirements = Mapping[str, Mapping[Key, Value]]
"""The values, by :func:`identify`, that parameters must have; one without any cannot be met."""
Dimensions = Mapping[str, Sequence[Dimension]]
"""By the names of their parameters."""


def find_requirements(order: Iterable[str], dimensions: Dimensions) -> dict[str, Requirements]:
    """The requirements of each dimension by its name in the study, parents before children."""
    found: dict[str, Requirements] = {}
    for name in order:
        for dimension in dimensions[name]:
            found[dimension.stored] = imply(dimension.plain.when, dimensions, found)
    return found


def imply(
    when: Mapping[str, Sequence[Value]], dimensions: Dimensions, known: Mapping[str, Requirements]
) -> Requirements:
    """What a condition requires of its parameters and of those above them.

    ``known`` has the requirements of the dimensions of its parameters.
    """
    return join(_imply_one(parent, values, dimensions, known) for parent, values in when.items())


def join(requirements: Iterable[Requirements]) -> Requirements:
    """What meets all of several requirements."""
    return reduce(_join_two, requirements, {})


def can_be_met(requirements: Requirements) -> bool:
    """Whether every parameter has a value left."""
    return all(requirements.values())


def _imply_one(
    parent: str, values: Sequence[Value], dimensions: Dimensions, known: Mapping[str, Requirements]
) -> Requirements:
    able = [d for d in dimensions[parent] if any(d.plain.contains(v) for v in values)]
    own = {parent: {identify(value): value for value in values if able}}
    return _join_two(own, _unite([known[dimension.stored] for dimension in able]))


def _join_two(one: Requirements, other: Requirements) -> Requirements:
    joined = {**one, **other}
    for name in one.keys() & other.keys():
        joined[name] = {key: value for key, value in one[name].items() if key in other[name]}
    return joined


def _unite(alternatives: Sequence[Requirements]) -> Requirements:
    """What all of several alternatives require at least."""
    if len(alternatives) == 1:
        return alternatives[0]
    shared = set.intersection(*(set(one) for one in alternatives)) if alternatives else set()
    return {name: {k: v for one in alternatives for k, v in one[name].items()} for name in shared}
