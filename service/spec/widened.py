"""Wider ranges of a sweep that has run: how people write them, and whether its spec allows them."""

from __future__ import annotations

import re
from collections.abc import Iterable

import yaml

from search_spaces.unknown_names import shorten
from search_spaces.values import Value, freeze
from search_spaces.widening import WideningError, Wider, show_bound, widen
from service.base.errors import InputError, Problem, ProblemsError
from service.spec.model import SweepSpec
from service.spec.space_rules import find_space_problems
from service.spec.yaml_reader import describe_yaml_error, read_yaml

FORM = "NAME=LOW:HIGH"
_TEXT = re.compile(r"([^=\[\s]+(?:\[.*\])?)\s*=\s*(.+)", re.DOTALL)


def read_widenings(texts: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    """Ranges as ``lambda[penalty=l2]=1e-7:10``, and choices to add as ``augmentation=[noise]``.

    Raises:
        InputError: a text has another form.
    """
    return dict(map(_read, texts))


def write_range(name: str, low: float, high: float) -> str:
    """A wider range as :func:`read_widenings` takes it."""
    return f"{name}={show_bound(low)}:{show_bound(high)}"


def widen_spec(spec: SweepSpec, wider: Wider, source: str) -> SweepSpec:
    """A spec with wider ranges, checked as a new one is. ``source`` names them in errors.

    Raises:
        ProblemsError: one cannot be widened so; every problem at once.
    """
    try:
        widened = spec.with_space(widen(spec.space, wider))
    except WideningError as error:
        found = [Problem(name, text) for name, text in error.problems]
        raise ProblemsError(source, found) from None
    problems = [
        Problem(".".join(map(str, place)), text) for place, text in find_space_problems(widened)
    ]
    if problems:
        raise ProblemsError(source, problems)
    return widened


def _read(text: str) -> tuple[str, tuple[Value, ...]]:
    parts = _TEXT.fullmatch(text.strip())
    shown = shorten(text, 200)
    if parts is None:
        raise InputError(
            f"--widen {shown!r}: write it as {FORM}, or, to add choices, as NAME=[VALUE, VALUE]"
        )
    name, values = parts.groups()
    try:
        low, colon, high = (part.strip() for part in values.partition(":"))
        bounds = (read_yaml(low), read_yaml(high)) if colon and low and high else ()
        if bounds and all(isinstance(b, int | float) and not isinstance(b, bool) for b in bounds):
            return name, bounds
        found = read_yaml(values)
    except yaml.YAMLError as error:
        raise InputError(f"--widen {shown!r}: {describe_yaml_error(error)}") from None
    return name, tuple(map(freeze, found)) if isinstance(found, list) else (freeze(found),)
