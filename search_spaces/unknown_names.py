"""Wording that all messages about unknown names share. What they quote is short, whatever it is."""

from __future__ import annotations

import difflib
import itertools
import reprlib
from collections.abc import Iterable

_LONGEST = 64
"""Characters of a name that is compared or listed."""
_MOST_COMPARED = 500
_MOST_LISTED = 60

_shortener = reprlib.Repr()
_shortener.maxlevel, _shortener.maxdict, _shortener.maxstring = 3, 5, 100
_shortener.maxlist = _shortener.maxtuple = _shortener.maxset = 10


def show(value: object) -> str:
    """The ``repr`` of a value that a user wrote, its middle left out where it is long."""
    return _shortener.repr(value)


def shorten(text: str, most: int = _LONGEST) -> str:
    """A text, its end left out where it is long."""
    return text if len(text) <= most else text[: most - 1] + "…"


def join_names(names: Iterable[object], separator: str = ", ") -> str:
    """The first names, and how many there are beside them."""
    known = [str(name) for name in names]
    listed = separator.join(shorten(name) for name in known[:_MOST_LISTED])
    left = len(known) - _MOST_LISTED
    return f"{listed} and {left:,} more" if left > 0 else listed


def did_you_mean(word: object, valid: Iterable[str]) -> str:
    """``; did you mean 'x'?`` with the closest valid word, in any case; empty if none is close."""
    text = str(word) if isinstance(word, str | int | float) else ""
    if not 0 < len(text) <= _LONGEST:
        return ""
    usual = (name for name in valid if len(name) <= _LONGEST)
    short = list(itertools.islice(usual, _MOST_COMPARED))
    near = difflib.get_close_matches(text.casefold(), {name.casefold() for name in short}, 1)
    spelled = [name for name in short if name.casefold() in near]
    closest = difflib.get_close_matches(text, spelled, 1, cutoff=0.0)
    return f"; did you mean {closest[0]!r}?" if closest else ""


def not_one_of(value: object, valid: Iterable[str]) -> str:
    """``'dijits' is not one of digits, csv; did you mean 'digits'?``."""
    known = list(valid)
    return f"{show(value)} is not one of {join_names(known)}{did_you_mean(value, known)}"
