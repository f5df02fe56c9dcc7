"""Whether a search space makes sense to a training: every name read, every value possible."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from search_spaces.space import Parameter, SearchSpace, Value
from search_spaces.words import did_you_mean
from trainables.config.training import REGULARISATION_NAMES, TRAINING_NAMES, Training, hyper_from
from trainables.regularisers.penalties import PENALTIES

MODEL_PREFIX = "model."

Location = tuple[str | int, ...]


def space_problems(space: SearchSpace, training: Training) -> Iterator[tuple[Location, str]]:
    """Where in a spec something is wrong, and what."""
    for name, parameter in space.parameters.items():
        text = _unread(name) or _impossible(name, parameter, training) or _lonely(name, space)
        if text:
            yield ("space", name), text


def _unread(name: str) -> str:
    known = [*REGULARISATION_NAMES, *TRAINING_NAMES]
    if name in known or name.startswith(MODEL_PREFIX):
        return ""
    return (
        f"nothing reads it{did_you_mean(name, known)}; valid: {', '.join(known)}, "
        f"and {MODEL_PREFIX}NAME for an argument of the trainable"
    )


def _impossible(name: str, parameter: Parameter, training: Training) -> str:
    if name.startswith(MODEL_PREFIX):
        return ""
    for value in parameter.samples():
        try:
            hyper_from({name: value}, training)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            return f"{value!r} is not possible: {message[0].lower()}{message[1:]}"
    return ""


def _lonely(name: str, space: SearchSpace) -> str:
    """A strength is read only where there is something to be strong."""
    match name:
        case "penalty" if "lambda" not in space.parameters and _active_values("penalty", space):
            return "has no strength; add `lambda`"
        case "lambda":
            return _needs("penalty", PENALTIES, name, space)
        case "l1_ratio":
            return _needs("penalty", ("elastic_net",), name, space)
        case "swa" if "ema" in space.parameters and not _apart("ema", "swa", space):
            return "`ema` and `swa` exclude each other; leave one out"
        case "augmentation_strength":
            names = _active_values("augmentation", space)
            return _needs("augmentation", names, name, space)
    return ""


def _apart(one: str, other: str, space: SearchSpace) -> bool:
    """Whether conditions keep two parameters from ever being there together."""
    left, right = space.parameters[one].when, space.parameters[other].when
    return any(set(left[p]).isdisjoint(right[p]) for p in left.keys() & right.keys())


def _needs(parent: str, readers: tuple[Value, ...], name: str, space: SearchSpace) -> str:
    """Why a child is not always read: its parent is missing or takes other values as well."""
    above = space.parameters.get(parent)
    if above is None:
        return f"nothing reads it without `{parent}` in the space"
    own = tuple(v for v in above.choices() if v in readers)
    if not own:
        return f"nothing reads it: {parent} is never {' or '.join(str(r) for r in readers)}"
    allowed = space.parameters[name].when.get(parent, above.choices())
    idle = [str(v) for v in allowed if v not in readers]
    if idle:
        condition = f"when: {{{parent}: [{', '.join(str(v) for v in own)}]}}"
        return f"nothing reads it where {parent} is {' or '.join(idle)}; add `{condition}`"
    return ""


def _active_values(parent: str, space: SearchSpace) -> tuple[Value, ...]:
    """What a parameter can be but `none`."""
    above = space.parameters.get(parent)
    return tuple(v for v in above.choices() if v != "none") if above else ()
