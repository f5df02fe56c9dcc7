"""Why a training cannot share its steps with others, in words for the user."""

from __future__ import annotations

import linecache
import traceback

from trainables.errors import describe_error, is_of_others


class CannotFuseError(Exception):
    """A training cannot share its steps with others; the message says why, and in which line."""


READS_VALUES = "it uses the value of a tensor in Python (`if`, `float()`, `.item()`)"
_WORDS = {
    "'workspace'": "oneDNN computes nn.LSTM in one call, which is not shared; nn.GRU is",
}
"""What torch's messages contain, and what they are about."""


def explain(error: BaseException) -> CannotFuseError:
    """The error that says in plain words why a step could not be recorded.

    Its message ends with the last line of the user's code that led to it, if there is one.
    """
    if isinstance(error, CannotFuseError) and error.__cause__ is not None:
        return error
    text = str(error)
    known = next((words for part, words in _WORDS.items() if part in text), None)
    if isinstance(error, CannotFuseError):
        known = text
    if known is None:
        return CannotFuseError(describe_error(error))
    return CannotFuseError(known + _quote_line(error))


def _quote_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not is_of_others(frame.filename)]
    if not own:
        return ""
    name, number = own[-1].filename, own[-1].lineno
    line = linecache.getline(name, number or 0).strip()
    return f" ({name.rpartition('/')[2]}, line {number}: {line})"
