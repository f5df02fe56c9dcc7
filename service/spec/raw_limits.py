"""Limits on what a spec may contain anywhere, whatever its keys mean, checked before all else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search_spaces.unknown_names import shorten
from service.base.errors import Problem

_MOST_VALUES = 20_000
_DEEPEST = 32
_LONGEST_TEXT = 4_096
_LONGEST_KEY = 200
_LARGEST_WHOLE = 2**63 - 1
_LEAVES = (str, int, float, type(None))
"""Nearly all values; to ask whether something is a mapping takes long."""


def find_excess(raw: Mapping[str, Any]) -> Problem | None:
    """The first value of a spec that no spec may contain; None if there is none.

    Numbers are finite and whole ones have 64 bits; texts, keys, nesting and the number of values
    are limited. The time that this takes is linear in the number of values, and limited.
    """
    count = 0
    waiting: list[tuple[tuple[str, ...], Any]] = [((), raw)]
    while waiting:
        path, value = waiting.pop()
        count += 1
        text = _explain(value, len(path))
        if count > _MOST_VALUES:
            return Problem("", f"has more than {_MOST_VALUES:,} values")
        if text:
            return Problem(".".join(path), text)
        if isinstance(value, _LEAVES):
            continue
        if isinstance(value, Mapping | list | tuple) and len(value) > _MOST_VALUES:
            return Problem(".".join(path), f"has more than {_MOST_VALUES:,} values")
        waiting += (((*path, key), item) for key, item in _list_items(value))
    return None


def _list_items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((shorten(str(key)), item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from ((str(place), item) for place, item in enumerate(value))


def _explain(value: Any, depth: int) -> str:
    match value:
        case bool() | None:
            return ""
        case str():
            return _explain_text(value)
        case float():
            return "" if math.isfinite(value) else f"must be a finite number, got {value}"
        case int():
            too_large = abs(value) > _LARGEST_WHOLE
            return "a whole number must fit into 64 bits" if too_large else ""
        case Mapping() | list() | tuple() if depth >= _DEEPEST:
            return f"is nested more than {_DEEPEST} levels deep"
        case Mapping():
            return _explain_keys(value)
    return ""


def _explain_text(value: str) -> str:
    if len(value) <= _LONGEST_TEXT:
        return ""
    return f"text may have at most {_LONGEST_TEXT:,} characters, got {len(value):,}"


def _explain_keys(value: Mapping[Any, Any]) -> str:
    longest = max((len(key) for key in value if isinstance(key, Sequence)), default=0)
    if longest > _LONGEST_KEY:
        return f"has a key of {longest:,} characters; a key may have at most {_LONGEST_KEY}"
    return ""
