"""Checks a search space against the training: names, values, and parameters without effect."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any, Protocol

from pydantic import ValidationError

from search_spaces.bounds import bounds_apply
from search_spaces.consistency import locate_alternatives
from search_spaces.kinds import Plain
from search_spaces.models import get_first_message
from search_spaces.parsing import AUTO, AUTOMATIC
from search_spaces.space import SearchSpace
from search_spaces.unknown_names import join_names, show
from search_spaces.values import Value, thaw
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
    unusable = list(_find_unusable(spec))
    found = unusable or _find_idle(spec.space)
    yield from ((("space", *place), text) for place, text in found)


def _find_unusable(spec: SpacedSpec) -> Iterator[tuple[Location, str]]:
    """Parameters that no training can have, as (location in the space, message)."""
    for name, parameter in spec.space.parameters.items():
        unknown = explain_unknown_parameter(name, spec.regularisers)
        if unknown:
            yield (name,), unknown
            continue
        for place, plain in locate_alternatives(name, parameter):
            text = _check_values(name, plain, spec)
            if text:
                yield place, text


def _find_idle(space: SearchSpace) -> Iterator[tuple[Location, str]]:
    """Parameters without effect, or that contradict others, as (location in the space, message)."""
    for name, parameter in space.parameters.items():
        text = _check_effect(name, space)
        if text:
            yield (name,), text
            continue
        for place, plain in locate_alternatives(name, parameter):
            text = _check_condition(name, plain, space)
            if text:
                yield place, text


def find_custom_choices(space: SearchSpace) -> Iterator[tuple[str, Value, Custom]]:
    """The values that name user-defined components: parameter, value and component."""
    for name, registry in _COMPONENTS.items():
        parameter = space.parameters.get(name)
        for value in parameter.choices() if parameter else ():
            component = None if value == "none" else registry.parse(value)
            if isinstance(component, Custom):
                yield name, value, component


def _check_values(name: str, parameter: Plain, spec: SpacedSpec) -> str:
    if parameter.regularises and not name.startswith(MODEL_PREFIX):
        return "`neutral` is only for `model.NAME`; the neutral value of this key is known"
    neutral = (parameter.neutral,) if parameter.regularises else ()
    for value in (*parameter.samples(), *neutral):
        try:
            check_value(spec, name, value)
        except ValidationError as error:
            return f"invalid value {show(thaw(value))}: {get_first_message(error)}{_explain(value)}"
        except ValueError as error:
            return f"invalid value {show(thaw(value))}: {error}"
    return ""


def _explain(value: Value) -> str:
    return f"; `{AUTO}` is only for `{AUTOMATIC}`" if value == AUTO else ""


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
    if config.selector and config.selector not in space.parameters:
        return f"has no effect without `{config.selector}` in the space"
    for other in takewhile(lambda key: key != name, config.exclusive):
        if other in space.parameters and not _are_exclusive(other, name, space):
            return f"`{other}` and `{name}` are mutually exclusive; remove one"
    return ""


def _check_strength(config: type[RegulariserConfig], space: SearchSpace) -> str:
    """Why a component that the space names never acts: its strength is 0 where none is set."""
    names = _list_active_values(config.selector, space)
    idle = [v for v in names if not config.model_validate({config.selector: v}).active]
    if config.strength not in space.parameters:
        return f"needs `{config.strength}`" if names and len(idle) == len(names) else ""
    ranges = space.list_dimensions(config.strength)
    unset = [v for v in idle if not any(_has(d.plain, config.selector, v, space) for d in ranges)]
    if not unset or not bounds_apply():  # older specs may have such components
        return ""
    return (
        f"{join_names(unset, ' and ')} would have no effect: `{config.strength}` has no range "
        f"there; give it an alternative with `when: {{{config.selector}: [{join_names(unset)}]}}`"
    )


def _has(plain: Plain, selector: str, value: Value, space: SearchSpace) -> bool:
    """Whether a parameter can be active where a selector has a value."""
    return space.can_meet({selector: (value,)}, plain.when)


def _find_readers(
    config: type[RegulariserConfig], key: str, space: SearchSpace
) -> tuple[Value, ...]:
    """The components, built in or named by the space, that have this parameter."""
    named = (*config.registry.built_in(), *_list_active_values(config.selector, space))
    return tuple(v for v in dict.fromkeys(named) if key in config.registry.parse(v).reads)


def _are_exclusive(one: str, other: str, space: SearchSpace) -> bool:
    """Whether conditions prevent two parameters from being active together."""
    pairs = itertools.product(space.list_dimensions(one), space.list_dimensions(other))
    return all(space.exclude(a, b) for a, b in pairs)


def _check_condition(name: str, plain: Plain, space: SearchSpace) -> str:
    """Why a parameter has no effect at some points where it is active; empty if it has."""
    config = BY_KEY.get(name)
    if config is None or not config.selector or name in (config.selector, config.on):
        return ""
    parent, readers = config.selector, _find_readers(config, name, space)
    above = space.parameters[parent]
    known = set(readers)
    own = tuple(v for v in above.choices() if v in known)
    if not own:
        return f"has no effect: {parent} is never {join_names(readers, ' or ')}"
    allowed = plain.when.get(parent, above.choices())
    idle = [v for v in allowed if v not in known and _has(plain, parent, v, space)]
    if idle:
        condition = f"when: {{{parent}: [{join_names(own)}]}}"
        return f"has no effect when {parent} is {join_names(idle, ' or ')}; add `{condition}`"
    return ""


def _list_active_values(parent: str, space: SearchSpace) -> tuple[Value, ...]:
    """The values of a parameter except ``none``."""
    above = space.parameters.get(parent)
    return tuple(v for v in above.choices() if v != "none") if above else ()
