"""Reads the definition of a parameter as a spec has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from pydantic_core import ValidationError

from search_spaces.kinds import (
    MOST_ALTERNATIVES,
    Alternatives,
    Auto,
    Choice,
    Float,
    Int,
    Parameter,
    Plain,
)
from search_spaces.models import Problems, make_problem
from search_spaces.unknown_names import did_you_mean, show

_MOST_KEYS = 20
AUTO = "auto"
AUTOMATIC = "lambda"
"""The parameter whose ranges a sweep can compute."""
_SELECTOR, _OFF = "penalty", "none"
"""The parameter on which it depends, and that one's value without effect."""

_KINDS: dict[str, type[Plain]] = {"float": Float, "int": Int, "choice": Choice, AUTO: Auto}


def parse_parameter(name: str, definition: Any) -> Parameter:
    """The parameter of this name.

    Raises:
        ValidationError: the definition is not valid.
    """
    if isinstance(definition, Float | Int | Choice | Auto | Alternatives):
        return definition
    if isinstance(definition, list | tuple):
        return _parse_alternatives(name, definition)
    if definition == AUTO and name == AUTOMATIC:
        return Auto(auto=True)
    if isinstance(definition, bool | int | float | str):
        return Choice.model_validate({"choice": [definition]})
    return _parse_plain(name, definition, ", a constant, or a list of such alternatives")


def _parse_plain(name: str, definition: Any, others: str = "") -> Plain:
    if isinstance(definition, Float | Int | Choice | Auto):
        return definition
    kinds = [k for k in _KINDS if isinstance(definition, Mapping) and k in definition]
    if len(kinds) != 1:
        _refuse(_describe_kind_problem(definition, others), definition)
    if kinds == [AUTO] and name != AUTOMATIC:
        _refuse(f"`{AUTO}` is only for `{AUTOMATIC}`; give a range or choices here", definition)
    return _KINDS[kinds[0]].model_validate(definition)


def _parse_alternatives(name: str, definitions: Sequence[Any]) -> Alternatives:
    """Several definitions.

    Raises:
        ValidationError: they are not alternatives; each problem at its position.
    """
    if not definitions or any(not isinstance(d, Mapping | Plain) for d in definitions):
        values = show(list(definitions)) if definitions else "[a, b]"
        _refuse(
            "a list has alternatives, each with its own condition, e.g. [{float: [0, 1], when: "
            f"{{penalty: l1}}}}, …]; to choose one of several values, write {{choice: {values}}}",
            definitions,
        )
    if len(definitions) > MOST_ALTERNATIVES:
        text = f"has {len(definitions):,} alternatives; at most {MOST_ALTERNATIVES} are allowed"
        _refuse(text, definitions)
    found: list[Plain] = []
    problems = Problems()
    for place, definition in enumerate(definitions):
        try:
            found.append(_parse_plain(name, definition))
        except ValidationError as error:
            problems.add_errors(error, (place,))
    problems.raise_any("SearchSpace")
    return Alternatives(tuple(found))


def complete_auto(parameter: Parameter, space: Mapping[str, Parameter]) -> Parameter:
    """An automatic range without a condition exists wherever there is a penalty."""
    above = space.get(_SELECTOR)
    if not isinstance(parameter, Auto) or parameter.when or above is None:
        return parameter
    acting = tuple(value for value in above.choices() if value != _OFF)
    if not acting or len(acting) == len(above.choices()):
        return parameter
    return Auto(auto=True, when={_SELECTOR: acting})


def _describe_kind_problem(definition: Any, others: str) -> str:
    keys = [str(k) for k in definition][:_MOST_KEYS] if isinstance(definition, Mapping) else []
    hint = next((h for k in keys if (h := did_you_mean(k, _KINDS))), "")
    return (
        "a parameter must be exactly one of {float: [low, high]}, {int: [low, high]}, "
        f"{{choice: [a, b]}}{others}; got {show(definition)}{hint}"
    )


def _refuse(text: str, definition: Any) -> NoReturn:
    """Refuse a definition as a whole.

    Raises:
        ValidationError: always.
    """
    raise ValidationError.from_exception_data("SearchSpace", [make_problem((), text, definition)])
