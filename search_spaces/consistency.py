"""Whether the parameters of a space fit together: conditions, alternatives, names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from typing import TYPE_CHECKING

from search_spaces.dimensions import divide
from search_spaces.kinds import Alternatives, Parameter, Plain, list_parents
from search_spaces.unknown_names import did_you_mean, join_names, shorten, show
from search_spaces.values import Value, identify, thaw, write

if TYPE_CHECKING:
    from search_spaces.space import SearchSpace

Location = tuple[str | int, ...]
Described = tuple[Location, Callable[[], str]]
"""The location of a problem, and what describes it."""


def find_inconsistencies(space: Mapping[str, Parameter]) -> Iterator[Described]:
    """Conditions that cannot be met, and names that occur twice in a study."""
    for name, parameter in space.items():
        for place, plain in locate_alternatives(name, parameter):
            for parent, values in plain.when.items():
                for describe in _check_condition(space, name, parent, values):
                    yield place, describe
        if isinstance(parameter, Alternatives):
            yield from _check_alternatives(space, name, parameter)
    if all(parent in space for p in space.values() for parent in list_parents(p)):
        cycle = _find_cycle(space)
        if cycle:
            yield (cycle[0],), partial(_describe_cycle, cycle)


def find_overlaps(space: SearchSpace) -> Iterator[Described]:
    """Alternatives that can be active at the same point: the first two of each parameter."""
    for name, parameter in space.parameters.items():
        places = locate_alternatives(name, parameter)
        located = zip(places, space.list_dimensions(name), strict=True)
        for ((one, _), first), ((other, _), second) in combinations(located, 2):
            if not space.exclude(first, second):
                yield other, partial(_describe_overlap, one, other)
                break


def locate_alternatives(name: str, parameter: Parameter) -> list[tuple[Location, Plain]]:
    """The alternatives of a parameter, each with its location in the space."""
    if not isinstance(parameter, Alternatives):
        return [((name,), parameter)]
    return [((name, place), plain) for place, plain in enumerate(parameter.root)]


def _describe_overlap(one: Location, other: Location) -> str:
    first, second = (shorten(".".join(map(str, place))) for place in (one, other))
    return (
        f"{first} and {second} can be active at the same point; alternatives need conditions that "
        "exclude each other: name one parameter in the `when` of both, with other values in each"
    )


def _check_alternatives(
    space: Mapping[str, Parameter], name: str, parameter: Alternatives
) -> Iterator[Described]:
    neutral = {identify(p.neutral) for p in parameter.root if p.regularises}
    if len(neutral) > 1:
        yield (name,), partial(str, "`neutral` must be the same value in all alternatives")
    for place, dimension in enumerate(divide(name, parameter)):
        if dimension.stored in space:
            text = f"has the name {show(dimension.stored)} in the study, which is taken; rename one"
            yield (name, place), partial(str, text)


def _check_condition(
    space: Mapping[str, Parameter], name: str, parent: str, values: Sequence[Value]
) -> Iterator[Callable[[], str]]:
    if parent == name:
        yield partial(str, "`when` refers to the parameter itself")
    elif parent not in space:
        yield partial(_describe_unknown_parent, space, name, parent)
    else:
        for value in values:
            if not space[parent].contains(value):
                yield partial(_describe_impossible, space[parent], parent, value)
        if not values:
            yield partial(str, f"`when` lists no value of {shorten(parent)}")


def _describe_unknown_parent(space: Mapping[str, Parameter], name: str, parent: str) -> str:
    names = join_names(n for n in space if n != name)
    hint = did_you_mean(parent, space)
    return f"`when` refers to {show(parent)}, which is not in the space{hint} ({names})"


def _describe_impossible(above: Parameter, parent: str, value: Value) -> str:
    words = [write(v) for v in above.choices()]
    return (
        f"`when` requires {shorten(parent)} to be {show(thaw(value))}, but it is "
        f"{above.describe()}{did_you_mean(value, words)}"
    )


def _describe_cycle(cycle: Sequence[str]) -> str:
    return f"circular `when` conditions: {join_names(cycle, ' → ')}"


def _find_cycle(space: Mapping[str, Parameter]) -> list[str]:
    """Names along a cycle of conditions, the first repeated at the end; empty without a cycle."""
    try:
        parents = {n: [p for p in list_parents(s) if p != n] for n, s in space.items()}
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []
