"""The values of parameters: numbers, text, true, false, null, and lists of them.

A list is a tuple here, so that it can be a key; users' code and files get it as a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AllowInfNan,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from search_spaces.bounds import Bounds, bounds_apply

_LONGEST_TEXT = 1_000
_MOST_ITEMS = 1_000
_DEEPEST = 5
_VALUES = Bounds(-1e15, 1e15)

if TYPE_CHECKING:
    Value = bool | int | float | str | tuple[Any, ...] | None


def _check_value(raw: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    """One message instead of one for each type that a value can have."""
    return _check(raw, parse, _DEEPEST)


def _check(raw: Any, parse: ValidatorFunctionWrapHandler, depth: int) -> Any:
    if isinstance(raw, list | tuple) and depth:
        if len(raw) > _MOST_ITEMS and bounds_apply():
            raise PydanticCustomError(
                "value_length", f"A list as a value must have at most {_MOST_ITEMS:,} items"
            )
        return tuple(_check(item, parse, depth - 1) for item in raw)
    if not isinstance(raw, bool | int | float | str | None):
        raise PydanticCustomError(
            "value_type",
            "A value must be a number, text, true, false, null or a list of them, at most "
            f"{_DEEPEST} deep",
        )
    if isinstance(raw, str) and len(raw) > _LONGEST_TEXT and bounds_apply():
        raise PydanticCustomError(
            "value_length", f"A value must have at most {_LONGEST_TEXT:,} characters"
        )
    return _VALUES.check(parse(raw))


def freeze(value: Any) -> Value:
    """A value that a file or users' code has, its lists as tuples."""
    return tuple(freeze(item) for item in value) if isinstance(value, list | tuple) else value


def thaw(value: Value) -> Any:
    """A value as users' code and files get it, its lists as lists."""
    return [thaw(item) for item in value] if isinstance(value, tuple) else value


if not TYPE_CHECKING:
    Value = Annotated[
        StrictBool
        | StrictInt
        | Annotated[StrictFloat, AllowInfNan(True)]
        | StrictStr
        | tuple[Any, ...]
        | None,
        WrapValidator(_check_value),
    ]


def write(value: Value) -> str:
    """A value as people read it."""
    return "null" if value is None else str(thaw(value))


def encode(value: Value) -> Any:
    """A value as a study stores it: Optuna takes no lists, which become JSON."""
    return json.dumps(thaw(value)) if isinstance(value, tuple) else value


def is_same(a: Value, b: Value) -> bool:
    """Equality that distinguishes ``True`` from ``1``, but not ``1`` from ``1.0``."""
    return identify(a) == identify(b)


def identify(value: Value) -> tuple[bool, Any]:
    """A key that only the same values share, see :func:`is_same`."""
    if isinstance(value, tuple):
        return False, tuple(map(identify, value))
    return isinstance(value, bool), value


def find_stored(values: Iterable[Value], stored: Any) -> Value:
    """The one of some values that a study stores as ``stored``.

    Raises:
        KeyError: none is.
    """
    return {identify(encode(value)): value for value in values}[identify(stored)]
