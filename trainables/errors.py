"""Errors of data, trainables and trainings, with messages for the user.

TrainableError
├── DataError        data that cannot be trained on
├── ContractError    a class or function that violates the contract
└── DivergedError    a loss that became NaN or infinite
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class TrainableError(Exception):
    """Base class of the errors that ``trainables`` raises on purpose.

    ``where`` is the dotted key of the spec that caused the error; empty if unknown.
    """

    def __init__(self, text: str, where: str = "") -> None:
        super().__init__(text)
        self.where = where


class DataError(TrainableError):
    """The data cannot be trained on."""


class ContractError(TrainableError):
    """A user-defined class or function violates the contract."""


class DivergedError(TrainableError):
    """A loss became NaN or infinite."""


@contextmanager
def blame(where: str) -> Iterator[None]:
    """Set ``where`` of errors that leave it empty to this key of the spec."""
    try:
        yield
    except TrainableError as error:
        error.where = error.where or where
        raise
