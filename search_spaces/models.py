"""Pydantic base classes of a spec's models, and helpers that report their errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

Location = Sequence[str | int]


class Frozen(BaseModel):
    """Frozen; unknown keys are ignored, so that files of other versions can be read."""

    model_config = ConfigDict(frozen=True)


class Strict(Frozen):
    """Frozen; unknown keys are errors, and a field is set by its name or its alias."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


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


def raise_problems(model: str, problems: Iterable[InitErrorDetails]) -> None:
    """Raise all problems as one error of the model; return if there are none.

    Raises:
        ValidationError: there is at least one problem.
    """
    found = list(problems)
    if found:
        raise ValidationError.from_exception_data(model, found)
