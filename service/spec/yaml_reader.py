"""Reads YAML that a person wrote or sent, in time that grows with its length and no faster.

Numbers are written as in YAML 1.2: ``1e-3`` is one. YAML 1.1's other forms are text here: numbers
in base 60 (``12:30:00``), whose value takes quadratic time, octal numbers, dates.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_MOST_NODES = 45_000
_DEEPEST = 64
_REPLACED = tuple(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))
_NUMBERS = "-+0123456789."
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]{,30}|0x[0-9a-fA-F]{1,20})$")
_REAL = re.compile(
    r"(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


class _Loader(yaml.CSafeLoader):
    """Plain values are text, numbers, true or false, or null."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _REPLACED]
    for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _WHOLE, list(_NUMBERS))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _REAL, list(_NUMBERS))


def read_yaml(text: str | bytes, *, aliases: bool = True) -> Any:
    """The value of a YAML document.

    Args:
        text: the document.
        aliases: whether ``*name`` may repeat a value, which can make a short text very large.

    Raises:
        yaml.YAMLError: it is not YAML, too large, or has tags, or aliases that are not allowed.
        UnicodeDecodeError: it is not in UTF-8.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        _check_events(text, aliases)
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        error.problem_mark = _move_into(text, error.problem_mark)
        raise


def describe_yaml_error(error: Exception) -> str:
    """Where a text is not YAML, and why, on one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    lines = str(problem or error).splitlines() or [type(error).__name__]
    return f"{where}{lines[0]}"


def _check_events(text: str | bytes, aliases: bool) -> None:
    nodes = depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent) and not aliases:
            raise _refuse(event, "aliases (*name) are not supported; write the values out")
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if getattr(event, "tag", None) is not None:
                raise _refuse(event, "tags (!name) are not supported; write the value without")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if nodes > _MOST_NODES:
            raise _refuse(event, f"there are more than {_MOST_NODES:,} values")
        if depth > _DEEPEST:
            raise _refuse(event, f"values are nested more than {_DEEPEST} levels deep")


def _move_into(text: str, mark: yaml.Mark | None) -> yaml.Mark | None:
    """A mark after the last line, where libyaml misses an end, becomes the end of that line."""
    lines = text.rstrip().splitlines()
    if mark is None or mark.line < len(lines) or not lines:
        return mark
    return yaml.Mark(mark.name, mark.index, len(lines) - 1, len(lines[-1]), None, 0)


def _refuse(event: Any, words: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=words, problem_mark=event.start_mark)
