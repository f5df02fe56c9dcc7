"""Checks a search space against the training: names, values, and parameters without effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from search_spaces.space import Parameter, SearchSpace, Value
from trainables.config.augmentations import augmentations
from trainables.config.optimizers import optimizers
from trainables.config.penalties import penalties
from trainables.config.registry import Custom, Registry
from trainables.config.schedules import schedules
from trainables.config.trial_parameters import (
    MODEL_PREFIX,
    TrainingSpec,
    explain_unknown_parameter,
    read_point,
)

Location = tuple[str | int, ...]

_COMPONENTS: Mapping[str, Registry[Any]] = {
    "penalty": penalties,
    "augmentation": augmentations,
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
    for name, parameter in spec.space.parameters.items():
        text = (
            explain_unknown_parameter(name, spec.regularisers)
            or _check_values(name, parameter, spec)
            or _check_effect(name, spec.space)
        )
        if text:
            yield ("space", name), text


def find_component_paths(space: SearchSpace) -> Iterator[str]:
    """The import paths among the values of parameters that name components."""
    for name, registry in _COMPONENTS.items():
        parameter = space.parameters.get(name)
        for value in parameter.choices() if parameter else ():
            if value != "none":
                component = registry.parse(value)
                if isinstance(component, Custom):
                    yield str(component.name)


def _check_values(name: str, parameter: Parameter, spec: SpacedSpec) -> str:
    if name.startswith(MODEL_PREFIX):
        return ""
    for value in parameter.samples():
        try:
            read_point(spec, {name: value})
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            return f"invalid value {value!r}: {message[0].lower()}{message[1:]}"
    return ""


def _check_effect(name: str, space: SearchSpace) -> str:
    """Why a parameter has no effect or contradicts another one; empty if it does not."""
    match name:
        case "penalty" if "lambda" not in space.parameters and _list_active_values(
            "penalty", space
        ):
            return "needs `lambda`"
        case "lambda" | "l1_ratio":
            return _check_parent("penalty", _find_penalties_with(name, space), name, space)
        case "swa" if "ema" in space.parameters and not _are_exclusive("ema", "swa", space):
            return "`ema` and `swa` are mutually exclusive; remove one"
        case "augmentation_strength":
            names = _list_active_values("augmentation", space)
            return _check_parent("augmentation", names, name, space)
    return ""


def _find_penalties_with(key: str, space: SearchSpace) -> tuple[Value, ...]:
    """The penalties, built in or named by the space, that have this parameter."""
    named = (*penalties.built_in(), *_list_active_values("penalty", space))
    return tuple(v for v in dict.fromkeys(named) if key in penalties.parse(v).reads)


def _are_exclusive(one: str, other: str, space: SearchSpace) -> bool:
    """Whether conditions prevent two parameters from being active together."""
    left, right = space.parameters[one].when, space.parameters[other].when
    return any(set(left[p]).isdisjoint(right[p]) for p in left.keys() & right.keys())


def _check_parent(parent: str, readers: tuple[Value, ...], name: str, space: SearchSpace) -> str:
    """Why a child has no effect at some points: the parent is missing or has other values."""
    above = space.parameters.get(parent)
    if above is None:
        return f"has no effect without `{parent}` in the space"
    own = tuple(v for v in above.choices() if v in readers)
    if not own:
        return f"has no effect: {parent} is never {' or '.join(str(r) for r in readers)}"
    allowed = space.parameters[name].when.get(parent, above.choices())
    idle = [str(v) for v in allowed if v not in readers]
    if idle:
        condition = f"when: {{{parent}: [{', '.join(str(v) for v in own)}]}}"
        return f"has no effect when {parent} is {' or '.join(idle)}; add `{condition}`"
    return ""


def _list_active_values(parent: str, space: SearchSpace) -> tuple[Value, ...]:
    """The values of a parameter except ``none``."""
    above = space.parameters.get(parent)
    return tuple(v for v in above.choices() if v != "none") if above else ()
