"""Pydantic base classes of a spec's models, and helpers that report their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError
from pydantic_core.core_schema import ErrorType

Location = Sequence[str | int]
MOST_PROBLEMS = 30
"""The problems that are described; of others the number is said."""
MORE = "more_problems"
"""The type of the error that says how many problems are not described."""


_PYDANTICS = frozenset(get_args(ErrorType))


class Frozen(BaseModel):
    """Frozen; unknown keys are ignored, so that files of other versions can be read."""

    model_config = ConfigDict(frozen=True)


class Strict(Frozen):
    """Frozen and finite; unknown keys are errors, and a field is set by its name or its alias."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)


def list_changed(model: BaseModel) -> frozenset[str]:
    """The fields whose values are not their defaults.

    A stored spec has all fields, so that ``model_fields_set`` does not say what a user gave.
    """
    fields = type(model).model_fields
    return frozenset(
        name
        for name, field in fields.items()
        if getattr(model, name) != field.get_default(call_default_factory=True, validated_data={})
    )


class Problems:
    """The problems of a model, of which only the first are described, and the rest counted."""

    def __init__(self) -> None:
        self._found: list[InitErrorDetails] = []
        self._more = 0

    def add(self, location: Location, describe: Callable[[], str], value: object = None) -> None:
        """Add one; its text is only made where it is shown."""
        if len(self._found) < MOST_PROBLEMS:
            self._found.append(make_problem(location, describe(), value))
        else:
            self._more += 1

    def add_errors(self, error: ValidationError, below: Location) -> None:
        """Add the problems of a part of the model, which is at the location ``below``."""
        if len(self._found) >= MOST_PROBLEMS:
            self._more += error.error_count()
            return
        for detail in error.errors(include_url=False):
            if len(self._found) < MOST_PROBLEMS:
                self._found.append(_relocate(detail, below))
            else:
                self._more += 1

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_any(self, model: str) -> None:
        """Raise all problems as one error of the model; return if there are none.

        Raises:
            ValidationError: there is at least one problem.
        """
        if self._more:
            kind = PydanticCustomError(MORE, "and {more} more problems", {"more": self._more})
            self._found.append(InitErrorDetails(type=kind, loc=(), input=None))
        if self._found:
            raise ValidationError.from_exception_data(model, self._found)


def make_problem(location: Location, text: str, value: object = None) -> InitErrorDetails:
    """A validation error with the message ``text``, at a location relative to the model."""
    kind = PydanticCustomError("value_error", "{error}", {"error": text})
    return InitErrorDetails(type=kind, loc=tuple(location), input=value)


def get_first_message(error: ValidationError) -> str:
    """The message of an error's first problem, without pydantic's prefix, in lower case."""
    detail = error.errors(include_url=False)[0]
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return detail["msg"][0].lower() + detail["msg"][1:]


def raise_problems(
    model: str, problems: Iterable[tuple[Location, str]], value: object = None
) -> None:
    """Raise all problems as one error of the model; return if there are none.

    Raises:
        ValidationError: there is at least one problem.
    """
    found = Problems()
    for location, text in problems:
        found.add(location, text.__str__, value)
    found.raise_any(model)


def _relocate(error: Any, below: Location) -> InitErrorDetails:
    """The same error, moved down, below a location."""
    place = (*below, *error["loc"])
    if error["type"] == "value_error":
        return make_problem(place, str(error["ctx"]["error"]), error["input"])
    if error["type"] not in _PYDANTICS:
        own = PydanticCustomError(error["type"], "{text}", {"text": error["msg"]})
        return InitErrorDetails(type=own, loc=place, input=error["input"])
    details = InitErrorDetails(type=error["type"], loc=place, input=error["input"])
    if "ctx" in error:
        details["ctx"] = error["ctx"]
    return details
