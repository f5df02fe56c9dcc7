"""Parses the spec in a request's body: JSON or YAML from an untrusted sender.

Aliases of YAML are refused: a few lines of nested ones expand to gigabytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from service.base.errors import Problem, SpecError
from service.spec.yaml_reader import describe_twice, describe_yaml_error, read_yaml

_MOST_DIGITS = 40


def parse_spec_body(text: bytes) -> Mapping[str, Any]:
    """A spec as it was sent, not validated.

    Raises:
        SpecError: it is neither YAML nor JSON, or not a mapping.
    """
    try:
        raw = _parse(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        words = "values are nested too deep" if deep else describe_yaml_error(error)
        raise SpecError("the spec", [Problem("", f"neither YAML nor JSON: {words}")]) from None
    if not isinstance(raw, dict):
        raise SpecError("the spec", [Problem("", "must be a mapping of keys to values")])
    return raw


def _parse(text: bytes) -> Any:
    try:
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_read_whole,
            object_pairs_hook=_make_mapping,
        )
    except json.JSONDecodeError:
        return read_yaml(text.decode(), aliases=False)


def _make_mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise yaml.YAMLError(describe_twice(key))
        made[key] = value
    return made


def _read_whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise yaml.YAMLError(f"a number has {len(digits):,} digits")
    return int(digits)


def _refuse_constant(word: str) -> float:
    raise yaml.YAMLError(f"{word} is not a JSON number")
