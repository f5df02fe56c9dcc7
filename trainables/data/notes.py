"""What was read of data, as a person is told it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_SHOWN = 8
_LONGEST = 40


class Note(NamedTuple):
    """One fact: ``subject`` is a word or two, such as ``constant``."""

    subject: str
    text: str


def list_some(values: Sequence[object], most: int = _SHOWN) -> str:
    """The first values, and how many there are beside them."""
    shown = [_cut(str(value)) for value in values[:most]]
    left = len(values) - most
    return ", ".join(shown) + (f" and {left:,} more" if left > 0 else "")


def count(number: int, word: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
