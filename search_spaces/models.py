"""The pydantic base of everything that a spec is made of, and its errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

Location = Sequence[str | int]


class Frozen(BaseModel):
    """Frozen; unknown keys are ignored, so that files of other versions can be read."""

    model_config = ConfigDict(frozen=True)


class Strict(Frozen):
    """Frozen, refuses unknown keys, takes a field's name and its alias."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


def problem(location: Location, text: str, value: object = None) -> InitErrorDetails:
    """One error of a model, ``text`` as a person reads it, at a place below the model."""
    kind = PydanticCustomError("value_error", "{error}", {"error": text})
    return InitErrorDetails(type=kind, loc=tuple(location), input=value)


def refuse(model: str, problems: Iterable[InitErrorDetails]) -> None:
    """Raise all problems as one error of the model, or nothing where there are none.

    Raises:
        ValidationError: there is at least one.
    """
    found = list(problems)
    if found:
        raise ValidationError.from_exception_data(model, found)
