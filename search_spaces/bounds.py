"""Bounds of the numbers and the sizes in a spec, which keep one spec from filling a server.

They hold for new specs. One that was accepted before a bound existed is read inside of
:func:`without_bounds`, as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

T = TypeVar("T")

_applied: ContextVar[bool] = ContextVar("bounds_applied", default=True)


@contextmanager
def without_bounds() -> Iterator[None]:
    """Read a spec that was accepted before; its numbers and sizes are not checked again."""
    token = _applied.set(False)
    try:
        yield
    finally:
        _applied.reset(token)


def bounds_apply() -> bool:
    """Whether a new spec is read."""
    return _applied.get()


@dataclass(frozen=True)
class Bounds:
    """Inclusive bounds of a number, as an annotation: ``Annotated[int, Bounds(1, 100)]``.

    Infinity and NaN are outside of all bounds.
    """

    low: float
    high: float

    def check(self, value: T) -> T:
        """The value.

        Raises:
            PydanticKnownError: it is a number outside of the bounds, or NaN.
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or not bounds_apply():
            return value
        if not math.isfinite(value):
            text = f"Input should be a finite number from {self.low:g} to {self.high:g}"
            raise PydanticCustomError("finite_number", text)
        if value < self.low:
            raise PydanticKnownError("greater_than_equal", {"ge": self.low})
        if value > self.high:
            raise PydanticKnownError("less_than_equal", {"le": self.high})
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        inner = handler(source)
        if inner["type"] == "float":
            inner = {**inner, "allow_inf_nan": True}  # it is refused here, unless bounds are off
        return core_schema.no_info_after_validator_function(self.check, inner)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = {**handler(schema), "maximum": self.high}
        return found if "exclusiveMinimum" in found else {**found, "minimum": self.low}


@dataclass(frozen=True)
class MaxItems:
    """The most items of a list or a mapping, as an annotation."""

    most: int

    def check(self, value: T) -> T:
        """The value.

        Raises:
            PydanticCustomError: it has too many items.
        """
        if bounds_apply() and isinstance(value, Sized) and len(value) > self.most:
            text = f"has {len(value):,} items; at most {self.most:,} are allowed"
            raise PydanticCustomError("value_error", "{error}", {"error": text})
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check before the items are read, which may take long."""
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(schema)
        key = "maxProperties" if found.get("type") == "object" else "maxItems"
        return {**found, key: self.most}


MOST_TRIALS = 100_000
MOST_EPOCHS = 100_000

Trials = Annotated[int, Bounds(0, MOST_TRIALS)]
SomeTrials = Annotated[int, Bounds(1, MOST_TRIALS)]
Epochs = Annotated[int, Bounds(0, MOST_EPOCHS)]
SomeEpochs = Annotated[int, Bounds(1, MOST_EPOCHS)]
Seed = Annotated[int, Bounds(0, 2**53 - 1)]
"""Every program, and JSON, can hold it exactly."""
Number = Annotated[float, Bounds(-1e12, 1e12)]
Positive = Annotated[float, Field(gt=0), Bounds(0, 1e12)]
Amount = Annotated[float, Bounds(0, 1e12)]
"""A strength, a tolerance or another real number that is not negative."""
