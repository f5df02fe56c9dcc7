"""Checks a search space against the training: names, values, and parameters without effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any, Protocol

from pydantic import ValidationError

from search_spaces.models import get_first_message
from search_spaces.space import Parameter, SearchSpace
from search_spaces.values import Value, thaw
from search_spaces.words import join_names, show
from trainables.config.optimizers import optimizers
from trainables.config.registry import Custom, Registry
from trainables.config.regularisers import BUILT_IN, BY_KEY, RegulariserConfig
from trainables.config.schedules import schedules
from trainables.config.trial_parameters import (
    MODEL_PREFIX,
    TrainingSpec,
    check_value,
    explain_unknown_parameter,
)

Location = tuple[str | int, ...]

_COMPONENTS: Mapping[str, Registry[Any]] = {
    **{config.selector: config.registry for config in BUILT_IN if config.selector},
    "optimizer": optimizers,
    "schedule": schedules,
}
"""The parameters whose values name components, with their registries."""


class SpacedSpec(TrainingSpec, Protocol):
    """A spec with a search space."""

    @property
    def space(self) -> SearchSpace:
        """The search space."""


def find_space_problems(spec: SpacedSpec) -> Iterator[tuple[Location, str]]:
    """Problems of the space as (location in the spec, message)."""
    space = spec.space
    unusable = {
        name: explain_unknown_parameter(name, spec.regularisers)
        or _check_values(name, parameter, spec)
        for name, parameter in space.parameters.items()
    }
    invalid = any(unusable.values())
    found = unusable if invalid else {n: _check_effect(n, space) for n in space.parameters}
    yield from ((("space", name), text) for name, text in found.items() if text)


def find_custom_choices(space: SearchSpace) -> Iterator[tuple[str, Value, Custom]]:
    """The values that name user-defined components: parameter, value and component."""
    for name, registry in _COMPONENTS.items():
        parameter = space.parameters.get(name)
        for value in parameter.choices() if parameter else ():
            component = None if value == "none" else registry.parse(value)
            if isinstance(component, Custom):
                yield name, value, component


def _check_values(name: str, parameter: Parameter, spec: SpacedSpec) -> str:
    if parameter.regularises and not name.startswith(MODEL_PREFIX):
        return "`neutral` is only for `model.NAME`; the neutral value of this key is known"
    neutral = (parameter.neutral,) if parameter.regularises else ()
    for value in (*parameter.samples(), *neutral):
        try:
            check_value(spec, name, value)
        except ValidationError as error:
            return f"invalid value {show(thaw(value))}: {get_first_message(error)}"
        except ValueError as error:
            return f"invalid value {show(thaw(value))}: {error}"
    return ""


def _check_effect(name: str, space: SearchSpace) -> str:
    """Why a parameter has no effect or contradicts another one; empty if it does not."""
    config = BY_KEY.get(name)
    if config is None:
        return ""
    if name == config.on:
        others = [key for key in config.names() if key not in (name, config.strength)]
        lonely = not any(key in space.parameters for key in others)
        return f"has no effect without {' or '.join(f'`{o}`' for o in others)}" if lonely else ""
    if name == config.selector:
        return _check_strength(config, space)
    if config.selector:
        readers = _find_readers(config, name, space)
        return _check_parent(config.selector, readers, name, space)
    for other in takewhile(lambda key: key != name, config.exclusive):
        if other in space.parameters and not _are_exclusive(other, name, space):
            return f"`{other}` and `{name}` are mutually exclusive; remove one"
    return ""


def _check_strength(config: type[RegulariserConfig], space: SearchSpace) -> str:
    """Why no component that the space names acts: its strength is 0 unless the space sets it."""
    names = _list_active_values(config.selector, space)
    idle = not any(config.model_validate({config.selector: name}).active for name in names)
    missing = names and idle and config.strength not in space.parameters
    return f"needs `{config.strength}`" if missing else ""


def _find_readers(
    config: type[RegulariserConfig], key: str, space: SearchSpace
) -> tuple[Value, ...]:
    """The components, built in or named by the space, that have this parameter."""
    named = (*config.registry.built_in(), *_list_active_values(config.selector, space))
    return tuple(v for v in dict.fromkeys(named) if key in config.registry.parse(v).reads)


def _are_exclusive(one: str, other: str, space: SearchSpace) -> bool:
    """Whether conditions prevent two parameters from being active together."""
    left, right = space.parameters[one].when, space.parameters[other].when
    return any(set(left[p]).isdisjoint(right[p]) for p in left.keys() & right.keys())


def _check_parent(parent: str, readers: tuple[Value, ...], name: str, space: SearchSpace) -> str:
    """Why a child has no effect at some points: the parent is missing or has other values."""
    above = space.parameters.get(parent)
    if above is None:
        return f"has no effect without `{parent}` in the space"
    known = set(readers)
    own = tuple(v for v in above.choices() if v in known)
    if not own:
        return f"has no effect: {parent} is never {join_names(readers, ' or ')}"
    allowed = space.parameters[name].when.get(parent, above.choices())
    idle = [v for v in allowed if v not in known]
    if idle:
        condition = f"when: {{{parent}: [{join_names(own)}]}}"
        return f"has no effect when {parent} is {join_names(idle, ' or ')}; add `{condition}`"
    return ""


def _list_active_values(parent: str, space: SearchSpace) -> tuple[Value, ...]:
    """The values of a parameter except ``none``."""
    above = space.parameters.get(parent)
    return tuple(v for v in above.choices() if v != "none") if above else ()
