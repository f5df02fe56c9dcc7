"""Says what is wrong with a spec: each problem at its place in the file, with what is valid."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import ErrorDetails

from search_spaces.models import MORE, MOST_PROBLEMS
from search_spaces.unknown_names import join_names, not_one_of, shorten, show
from service.base.errors import Problem
from service.spec.model import SweepSpec
from trainables.config.foreign_keys import suggest_key
from trainables.config.imports import IMPORT_PATH, suggest_path

_LONGEST = 2_000
_LONGEST_PATH = 300


def describe_problems(error: ValidationError, raw: Mapping[str, Any]) -> list[Problem]:
    """The first problems of a spec, each with its place, and how many there are beside them."""
    details = error.errors(include_url=False)
    left_out = sum(d["ctx"]["more"] for d in details if d["type"] == MORE)
    known = [detail for detail in details if detail["type"] != MORE]
    left_out += max(0, len(known) - MOST_PROBLEMS)
    found = [_describe(detail, raw) for detail in known[:MOST_PROBLEMS]]
    if left_out:
        more = "1 more problem" if left_out == 1 else f"{left_out:,} more problems"
        found.append(Problem("", f"and {more}"))
    return found


def _describe(detail: ErrorDetails, raw: Mapping[str, Any]) -> Problem:
    path = _to_user_path(detail["loc"], raw, detail["type"] == "missing")
    place = ".".join(shorten(str(part)) for part in path)
    return Problem(shorten(place, _LONGEST_PATH), shorten(_write(detail, path, raw), _LONGEST))


def _to_user_path(loc: Sequence[str | int], raw: Any, missing: bool) -> tuple[str | int, ...]:
    """The location as in the file, without the names that pydantic adds for union members."""
    path: list[str | int] = []
    node = raw
    for position, key in enumerate(loc):
        inside = (isinstance(node, Mapping) and key in node) or (
            isinstance(node, list) and isinstance(key, int) and key < len(node)
        )
        if inside:
            path.append(key)
            node = node[key]
        elif position == len(loc) - 1 and missing and isinstance(node, Mapping):
            path.append(key)
    return tuple(path)


def _write(detail: ErrorDetails, path: Sequence[str | int], raw: Mapping[str, Any]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            valid = sorted(_find_valid_keys(path[:-1], raw))
            hint = suggest_key(path[-1], valid) or _suggest_section(path[-1])
            return f"unknown key{hint}; valid: {join_names(valid)}"
        case "missing":
            return "is missing"
        case "literal_error" | "union_tag_invalid":
            expected = str(detail["ctx"].get("expected") or detail["ctx"].get("expected_tags"))
            value = detail["ctx"].get("tag", detail["input"])
            return not_one_of(value, re.findall(r"'([^']*)'", expected))
        case "string_pattern_mismatch" if IMPORT_PATH in str(detail["ctx"]["pattern"]):
            given = detail["input"]
            return f"needs an import path, `module:Name`, got {show(given)}{suggest_path(given)}"
        case "value_error":
            return str(detail["ctx"]["error"])
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return f"{message}, got {show(detail['input'])}"


def _find_valid_keys(path: Sequence[str | int], raw: Mapping[str, Any]) -> set[str]:
    """The keys of the model at ``path``, as in a file."""
    models: list[type[BaseModel]] = [SweepSpec]
    node: Any = raw
    for key in path:
        node = node[key]
        if isinstance(key, str):
            fields = [f for m in models for n, f in m.model_fields.items() if key in (n, f.alias)]
            if fields:  # otherwise it is a name in a mapping, whose values have these models
                models = [m for f in fields for m in _find_models(f.annotation)]
    if isinstance(node, Mapping) and len(models) > 1:
        named = [m for m in models if node.get("name") in _list_names(m)]
        whole = [m for m in models if _list_required(m) <= node.keys()]
        models = named or whole or models
    return {key for model in models for key in _list_keys(model)}


def _suggest_section(key: object) -> str:
    """The sections that have such a key; empty if none has."""
    places = [
        f"`{name}.{key}`"
        for name, field in SweepSpec.model_fields.items()
        if typing.get_origin(field.annotation) not in (dict, tuple)
        for models in [set(_find_models(field.annotation))]
        if len(models) == 1 and any(key in _list_keys(model) for model in models)
    ]
    return f"; did you mean {' or '.join(places)}?" if places else ""


def _list_keys(model: type[BaseModel]) -> set[str]:
    """The keys of a model, as in a file."""
    return {f.alias or n for n, f in model.model_fields.items()}


def _find_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        yield from _find_models(annotation.model_fields["root"].annotation)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(getattr(annotation, "__value__", annotation)):
        yield from _find_models(argument)


def _list_required(model: type[BaseModel]) -> set[str]:
    return {f.alias or n for n, f in model.model_fields.items() if f.is_required()}


def _list_names(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("name")
    return typing.get_args(field.annotation) if field else ()
