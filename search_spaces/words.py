"""Wording that all messages about unknown names share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, valid: Iterable[str]) -> str:
    """``; did you mean 'x'?`` with the closest valid word; empty if none is close."""
    near = difflib.get_close_matches(str(word), list(valid), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def not_one_of(value: object, valid: Iterable[str]) -> str:
    """``'dijits' is not one of digits, csv; did you mean 'digits'?``."""
    known = list(valid)
    return f"{value!r} is not one of {', '.join(known)}{did_you_mean(value, known)}"
