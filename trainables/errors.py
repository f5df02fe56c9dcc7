"""Errors of data, trainables and trainings, with messages for the user.

TrainableError
├── DataError        data that cannot be trained on
├── ContractError    a class or function that violates the contract
└── DivergedError    a loss that became NaN or infinite
"""

from __future__ import annotations

import site
import sys
import sysconfig
import traceback
from bdb import BdbQuit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OF_OTHERS = tuple(
    str(Path(folder).resolve())
    for folder in {
        str(Path(__file__).parent),
        sysconfig.get_path("stdlib"),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)
"""Folders of code that is not the user's: ours, Python's, and installed packages."""
_LONGEST = 600
"""Characters that are shown of a message of another library."""


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
    has none. Errors that are none of the code, see :func:`is_from_outside`, pass.

    Raises:
        ContractError: the code raised any other exception, or ended the process.
    """
    try:
        yield
    except TrainableError as error:
        error.where = error.where or where
        raise
    except (Exception, SystemExit) as error:
        if is_from_outside(error):
            raise
        text = f"{name}{tell_error(error)}" if name else describe_error(error)
        raise ContractError(text, where) from error


@contextmanager
def locate(place: str) -> Iterator[None]:
    """Begin the messages of errors with the place that they are about: a split, a batch."""
    try:
        yield
    except TrainableError as error:
        error.args = (f"{place}: {error}",)
        raise


_NO_MEMORY = ("can't allocate memory", "out of memory", "MemoryError")


def is_from_outside(error: BaseException) -> bool:
    """Whether memory ran out, the device failed, or the user quit a debugger.

    Whoever runs a trial tells these apart.
    """
    torch = sys.modules.get("torch")
    of_device = (torch.OutOfMemoryError, torch.AcceleratorError) if torch else ()
    return isinstance(error, (MemoryError, BdbQuit, *of_device))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch has no exception of its own for that of the host."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def is_of_others(filename: str) -> bool:
    """Whether a frame's code is not the user's: ours, Python's, or an installed package's."""
    return filename.startswith(("<", *_OF_OTHERS))


def tell_error(error: BaseException) -> str:
    """What follows the name of the code that raised it: `` raised ValueError: …``."""
    return f"{': ' if isinstance(error, SystemExit) else ' raised '}{describe_error(error)}"


def describe_error(error: BaseException) -> str:
    """An exception's type and message, and the line that raised it, the user's own if there is.

    Some of torch's messages list every backend, in pages: the end of a long one is left out.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not is_of_others(f.filename)]
    last = (own or frames)[-1:]
    line = f" ({Path(last[0].filename).name}, line {last[0].lineno})" if last else ""
    text = " ".join(name_error(error).split())
    return f"{text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'}{line}"


def name_error(error: BaseException) -> str:
    """An exception's type and message; code that ends its process is told where it belongs."""
    if not isinstance(error, SystemExit):
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    code = "" if error.code is None else repr(error.code)
    return (
        f"it ends the process, by SystemExit({code}); what is only for a script (argparse, "
        'sys.exit) belongs under `if __name__ == "__main__":`'
    )
