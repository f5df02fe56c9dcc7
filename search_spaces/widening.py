"""Widens ranges of a space, and adds choices: what a study has sampled stays within it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from search_spaces.bounds import without_bounds
from search_spaces.dimensions import Dimension
from search_spaces.kinds import Alternatives, Auto, Choice, Float, Int, Parameter, Plain
from search_spaces.models import get_first_message
from search_spaces.space import SearchSpace
from search_spaces.unknown_names import did_you_mean, join_names
from search_spaces.values import Value, freeze, write

Wider = Mapping[str, Sequence[Value]]
"""By a dimension's name in the study: the bounds of a range, or the choices to add."""


class WideningError(ValueError):
    """What cannot be widened as asked: every problem, as (name, message)."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems))
        self.problems = tuple(problems)


def read_wider(raw: Mapping[str, Any]) -> dict[str, tuple[Value, ...]]:
    """Bounds and choices as users' code and files have them; one choice needs no list."""
    frozen = {name: freeze(values) for name, values in raw.items()}
    return {n: v if isinstance(v, tuple) else (v,) for n, v in frozen.items()}


def widen(space: SearchSpace, wider: Wider) -> SearchSpace:
    """The space with wider ranges and more choices.

    Raises:
        WideningError: a name is unknown, or a range would lose values; every problem at once.
    """
    problems: list[tuple[str, str]] = []
    changed: dict[str, Plain] = {}
    known = {dimension.stored: dimension for dimension in space.dimensions}
    for name, values in wider.items():
        try:
            if name not in known:
                raise ValueError(_explain_unknown(space, name))
            changed[name] = _widen(known[name].plain, values)
        except ValidationError as error:
            problems.append((name, get_first_message(error)))
        except ValueError as error:
            problems.append((name, str(error)))
    if problems:
        raise WideningError(problems)
    rebuilt = {name: _rebuild(space.list_dimensions(name), changed) for name in space.parameters}
    with without_bounds():  # what changed is checked, and the rest was
        return SearchSpace.model_validate(rebuilt)


def list_values(space: SearchSpace, names: Sequence[str]) -> dict[str, tuple[Value, ...]]:
    """The bounds or all choices of some dimensions, as :func:`widen` takes them."""
    found = {dimension.stored: dimension.plain for dimension in space.dimensions}
    return {
        name: plain.choices() or plain.extremes() for name in names if (plain := found.get(name))
    }


def _rebuild(dimensions: Sequence[Dimension], changed: Mapping[str, Plain]) -> Parameter:
    plain = tuple(changed.get(d.stored, d.plain) for d in dimensions)
    return Alternatives(plain) if dimensions[0].stored != dimensions[0].name else plain[0]


def _explain_unknown(space: SearchSpace, name: str) -> str:
    if name in space.parameters:
        own = (dimension.stored for dimension in space.list_dimensions(name))
        return f"has several ranges; name one of {join_names(own)}"
    names = [dimension.stored for dimension in space.dimensions]
    return f"is not in the space ({join_names(names)}){did_you_mean(name, names)}"


def _widen(plain: Plain, values: Sequence[Value]) -> Plain:
    """The range with these bounds, or with these choices as well.

    Raises:
        ValueError: the values are not wider, or are none of this kind.
    """
    match plain:
        case Choice():
            added = [v for v in map(freeze, values) if not plain.contains(v)]
            return _change(plain, choice=(*plain.values, *added))
        case Float() | Int():
            return _widen_range(plain, values)
        case Auto():
            raise ValueError("its range is computed when the sweep starts; it has none to widen")


def _widen_range(plain: Float | Int, values: Sequence[Value]) -> Plain:
    if len(values) != 2 or not all(_is_number(v) for v in values):
        shown = join_names(map(write, values))
        raise ValueError(f"takes two numbers, the lowest and the highest value; got {shown}")
    low, high = values
    kind = "float" if isinstance(plain, Float) else "int"
    wider: Float | Int = _change(plain, **{kind: (low, high)})
    if wider.low > plain.low or wider.high < plain.high:
        raise ValueError(
            f"{show_bound(wider.low)} to {show_bound(wider.high)} does not contain the range that "
            f"it has, {show_bound(plain.low)} to {show_bound(plain.high)}; a range can only become "
            "wider"
        )
    if plain.step is not None and not wider.contains(plain.low):
        raise ValueError(
            f"{show_bound(wider.low)} is not a whole number of steps of {plain.step:g} below "
            f"{show_bound(plain.low)}"
        )
    return wider


P = TypeVar("P", bound=Float | Int | Choice)


def _change(plain: P, **changes: Any) -> P:
    """The definition with other values, validated.

    Raises:
        ValidationError: they are not valid.
    """
    dumped = plain.model_dump(by_alias=True, exclude_defaults=True)
    return cast("P", type(plain).model_validate({**dumped, **changes}))


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def show_bound(bound: float) -> str:
    """A bound such that it is read back as the same number."""
    return f"{bound:g}" if float(f"{bound:g}") == bound else repr(bound)
