"""What goes wrong with data, trainables and trainings, in words for the user.

TrainableError
├── DataError        data that cannot be trained on
├── ContractError    a class or function that lacks what the contract needs
└── DivergedError    a loss that is no longer a number
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class TrainableError(Exception):
    """Root of everything `trainables` raises on purpose.

    ``where`` is the key of the spec that is to blame, dotted, or empty where it is not known.
    """

    def __init__(self, text: str, where: str = "") -> None:
        super().__init__(text)
        self.where = where


class DataError(TrainableError):
    """The data cannot be trained on as it is."""


class ContractError(TrainableError):
    """The user's class or function lacks what the contract needs."""


class DivergedError(TrainableError):
    """A loss turned NaN or infinite."""


@contextmanager
def blame(where: str) -> Iterator[None]:
    """Name the key of the spec that is to blame, for errors that do not know it."""
    try:
        yield
    except TrainableError as error:
        error.where = error.where or where
        raise
