"""Errors of data, trainables and trainings, with messages for the user.

TrainableError
├── DataError        data that cannot be trained on
├── ContractError    a class or function that violates the contract
└── DivergedError    a loss that became NaN or infinite
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
def blame(where: str, name: str = "") -> Iterator[None]:
    """Report errors of user-defined code at this key of the spec.

    ``name`` is what is called, for the message. A ``TrainableError`` only gets ``where``, if it
    has none.

    Raises:
        ContractError: the code raised any other exception.
    """
    try:
        yield
    except TrainableError as error:
        error.where = error.where or where
        raise
    except (Exception, SystemExit) as error:
        subject = f"{name} raised " if name else ""
        raise ContractError(f"{subject}{describe_error(error)}", where) from error


def describe_error(error: Exception | SystemExit) -> str:
    """An exception's type and message, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    line = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{name_error(error)}{line}"


def name_error(error: Exception | SystemExit) -> str:
    """An exception's type and message; code that ends its process is told where it belongs."""
    if not isinstance(error, SystemExit):
        return f"{type(error).__name__}: {error}"
    code = "" if error.code is None else repr(error.code)
    return (
        f"it ends the process, by SystemExit({code}); what is only for a script (argparse, "
        'sys.exit) belongs under `if __name__ == "__main__":`'
    )
