"""Parses the spec in a request's body: JSON or YAML from an untrusted sender."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from service.base.errors import Problem, SpecError


def parse_spec_body(text: bytes) -> Mapping[str, Any]:
    """A spec as it was sent, not validated.

    Raises:
        SpecError: it is neither YAML nor JSON, or not a mapping.
    """
    try:
        raw = _parse(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError("the spec", [Problem("", f"neither YAML nor JSON: {first}")]) from None
    if not isinstance(raw, dict):
        raise SpecError("the spec", [Problem("", "must be a mapping of keys to values")])
    return raw


def _parse(text: bytes) -> Any:
    """JSON first: YAML 1.1 reads ``1e-05``, as JSON writes it, as text and not as a number."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        return yaml.load(text, _PlainLoader)  # a SafeLoader


def _refuse_constant(word: str) -> float:
    raise yaml.YAMLError(f"{word} is not a JSON number")


class _PlainLoader(yaml.SafeLoader):
    """Without aliases: a few lines of nested aliases expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported; write the values out")
        return super().compose_node(parent, index)
