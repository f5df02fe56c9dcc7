"""Reads YAML that a person wrote or sent, in time that grows with its length and no faster.

Numbers are written as in YAML 1.2: ``1e-3`` is one. YAML 1.1's other forms are text here: numbers
in base 60 (``12:30:00``), whose value takes quadratic time, octal numbers, dates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from service.base.errors import InputError

_MOST_NODES = 45_000
_MOST_STORED_NODES = 1_000_000
_DEEPEST = 64
_LONGEST = 60
_TAG = "tag:yaml.org,2002:"
_REPLACED = tuple(_TAG + name for name in ("int", "float", "timestamp"))
_FIRSTS = "-+0123456789."
_SPECIAL = r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_POINT = r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)"
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]{,30}|0x[0-9a-fA-F]{1,20})$")
_REAL = re.compile(
    rf"(?:{_POINT}(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|{_SPECIAL})$"
)
_WHOLE_1_1 = re.compile(r"[-+]?(?:0[0-7_]*|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)$")
_REAL_1_1 = re.compile(rf"(?:{_POINT}(?:[eE][-+][0-9]+)?|{_SPECIAL})$")


class _Loader(yaml.CSafeLoader):
    """Plain values are text, numbers, true or false, or null."""


class _StoredLoader(yaml.CSafeLoader):
    """Reads what PyYAML's safe dumper writes, which is YAML 1.1."""


for _loader, _whole, _real in ((_Loader, _WHOLE, _REAL), (_StoredLoader, _WHOLE_1_1, _REAL_1_1)):
    _loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag not in _REPLACED]
        for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    _loader.add_implicit_resolver(_TAG + "int", _whole, list(_FIRSTS))
    _loader.add_implicit_resolver(_TAG + "float", _real, list(_FIRSTS))


def read_yaml(text: str, *, aliases: bool = True) -> Any:
    """The value of a YAML document.

    Args:
        text: the document.
        aliases: whether ``*name`` may repeat a value, which can make a short text very large.

    Raises:
        yaml.YAMLError: it is not YAML, too large, or has tags, or aliases that are not allowed.
    """
    return _read(text, _Loader, _MOST_NODES, aliases=aliases)


def read_stored_yaml(text: str) -> Any:
    """The value of a document that PyYAML's safe dumper wrote.

    Raises:
        yaml.YAMLError: it is not YAML, too large, or has tags or aliases.
        ValueError: a number has too many digits.
    """
    return _read(text, _StoredLoader, _MOST_STORED_NODES, aliases=False)


def read_mapping(
    text: bytes, source: str, read: Callable[[str], Any] = read_yaml
) -> dict[str, Any]:
    """The keys of a file in YAML or JSON, not validated.

    Raises:
        InputError: it is not a mapping in YAML; ``source`` names it.
    """
    try:
        raw = read(text.decode())
    except UnicodeDecodeError:
        raise InputError(f"{source} is not a UTF-8 text file") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{source} is not valid YAML: {describe_yaml_error(error)}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{source} must be a mapping of keys to values such as `name: digits-mlp`")
    return raw


def describe_yaml_error(error: Exception) -> str:
    """Where a text is not YAML, and why, on one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    lines = str(problem or error).splitlines() or [type(error).__name__]
    return f"{where}{lines[0]}"


def _read(text: str, loader: type[yaml.CSafeLoader], most: int, *, aliases: bool) -> Any:
    try:
        _check_events(text, most, aliases)
        return yaml.load(text, loader)
    except yaml.MarkedYAMLError as error:
        error.problem_mark = _move_into(text, error.problem_mark)
        raise


def _check_events(text: str, most: int, aliases: bool) -> None:
    nodes = depth = 0
    keys = _Keys()
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent) and not aliases:
            raise _refuse(event, "aliases (*name) are not supported; write the values out")
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if getattr(event, "tag", None) is not None:
                raise _refuse(event, "tags (!name) are not supported; write the value without")
        keys.take(event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if nodes > most:
            raise _refuse(event, f"there are more than {most:,} values")
        if depth > _DEEPEST:
            raise _refuse(event, f"values are nested more than {_DEEPEST} levels deep")


class _Keys:
    """The keys of the mappings that are open; of two equal ones PyYAML would take the last."""

    def __init__(self) -> None:
        self._open: list[set[str] | None] = []  # None of a list
        self._at_key: list[bool] = []

    def take(self, event: yaml.Event) -> None:
        """Follow a document by its events.

        Raises:
            yaml.YAMLError: a mapping has a key twice.
        """
        if isinstance(event, yaml.NodeEvent) and self._open and self._open[-1] is not None:
            if self._at_key[-1] and isinstance(event, yaml.ScalarEvent):
                if event.value in self._open[-1]:
                    raise _refuse(event, describe_twice(event.value))
                self._open[-1].add(event.value)
            self._at_key[-1] = not self._at_key[-1]
        if isinstance(event, yaml.CollectionStartEvent):
            self._open.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
            self._at_key.append(True)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._at_key.pop()


def describe_twice(key: str) -> str:
    """The message for a key that a mapping has twice."""
    return f"the key {key[:_LONGEST]!r} is there twice; keep one of them"


def _move_into(text: str, mark: yaml.Mark | None) -> yaml.Mark | None:
    """A mark after the last line, where libyaml misses an end, becomes the end of that line."""
    lines = text.rstrip().splitlines()
    if mark is None or mark.line < len(lines) or not lines:
        return mark
    return yaml.Mark(mark.name, mark.index, len(lines) - 1, len(lines[-1]), None, 0)


def _refuse(event: Any, words: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=words, problem_mark=event.start_mark)
