"""Reads a SweepSpec from YAML or JSON: presets, files, overrides and readable errors."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from search_spaces.presets import list_presets, load_preset
from search_spaces.words import did_you_mean, not_one_of
from service.base.errors import InputError, Problem, SpecError
from service.spec.model import SweepSpec

_MOVED = {
    "trainables.vision:MLP": "trainables.models:MLP",
    "trainables.vision:CNN": "trainables.models:CNN",
    "trainables.tabular:MLP": "trainables.models:MLP",
}

_PICKS = {"best_mean": "best", "one_standard_error": "simplest"}


def load_spec(path: Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """Read and validate a spec. It imports no code that the spec names.

    Args:
        path: a YAML or JSON file; relative paths in the spec start from its folder.
        overrides: ``dotted.key=value`` each, the value in YAML, as ``--set`` takes them.

    Raises:
        InputError: the file cannot be read, is not YAML, or an override is not ``key=value``.
        SpecError: the spec is invalid; every problem at once.
    """
    return parse_spec(read_raw_spec(path, overrides), str(path), path.parent)


def read_raw_spec(
    path: Path, overrides: Sequence[str] = (), *, whole: bool = False
) -> dict[str, Any]:
    """A spec's file with overrides, not validated; ``whole`` includes the space's preset or file.

    Raises:
        InputError: the file does not exist or is not YAML, or an override is malformed.
        SpecError: the space's preset does not exist.
    """
    raw = _read_yaml(path)
    for override in overrides:
        _override(raw, override)
    if whole and "space" in raw:
        raw["space"] = _resolve_space(raw["space"], str(path), path.parent)
    return raw


def parse_spec(raw: Mapping[str, Any], source: str, folder: Path) -> SweepSpec:
    """Validate a spec given as a mapping. It imports no code that the spec names.

    Args:
        raw: the keys of a spec, as YAML would give them.
        source: what errors call the spec, for example its path.
        folder: where relative paths in the spec start.

    Raises:
        SpecError: the spec is invalid; every problem at once.
    """
    raw = {**raw, **_update_trainable(raw), **_update_confirm(raw)}
    if "space" in raw:
        raw["space"] = _resolve_space(raw["space"], source, folder)
    try:
        spec = SweepSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(source, list(_list_problems(error, raw))) from None
    return spec.model_copy(update={"data": spec.data.with_paths_from(folder)})


def _update_trainable(raw: Mapping[str, Any]) -> dict[str, str]:
    """The current name of a trainable in a spec that an older gapsweep wrote."""
    new = _MOVED.get(str(raw.get("trainable")))
    return {} if new is None else {"trainable": new}


def _update_confirm(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The current form of ``confirm`` in a spec that an older gapsweep wrote, with all its keys."""
    old = raw.get("confirm")
    if not isinstance(old, Mapping) or old.keys() != {"top_k", "seeds", "pick"}:
        return {}
    return {"confirm": {"top_k": old["top_k"], "pick": _PICKS.get(old["pick"], old["pick"])}}


def dump_spec(spec: SweepSpec) -> str:
    """The spec as YAML, which :func:`load_spec` reads back to an equal spec."""
    raw = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    for key in ("early_stopping", "confirm"):
        if getattr(spec, key) is None:
            raw[key] = None
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: bytes, source: str) -> dict[str, Any]:
    """The keys of a file in YAML or JSON, not validated.

    Raises:
        InputError: it is not a mapping in YAML; ``source`` names it.
    """
    try:
        raw = yaml.safe_load(text.decode())
    except UnicodeDecodeError:
        raise InputError(f"{source} is not a UTF-8 text file") from None
    except yaml.YAMLError as error:
        raise InputError(f"{source} is not valid YAML: {_describe_yaml_error(error)}") from None
    except (ValueError, RecursionError) as error:  # a number too long, brackets too deep
        raise InputError(f"{source} is not valid YAML: {type(error).__name__}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{source} must be a mapping of keys to values such as `name: digits-mlp`")
    return raw


def _describe_yaml_error(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}{problem or error}"


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not key or not equals:
        raise InputError(f"--set {override!r}: write it as dotted.key=value")
    *parents, last = key.split(".")
    node = raw
    for depth, parent in enumerate(parents):
        child = node.setdefault(parent, {})
        if isinstance(child, str):  # the short form of a component
            child = node[parent] = {"name": child}
        if not isinstance(child, dict):
            at = ".".join(parents[: depth + 1])
            raise InputError(f"--set {override!r}: {at} is {child!r}, not a mapping")
        node = child
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override!r}: {_describe_yaml_error(error)}") from None


def _resolve_space(space: Any, source: str, folder: Path) -> Any:
    """Expand a preset or a file; other keys of ``space`` override its parameters."""
    match space:
        case {"preset": str(name), **rest}:
            if name not in list_presets():
                raise SpecError(source, [Problem("space.preset", not_one_of(name, list_presets()))])
            return {**load_preset(name), **rest}
        case {"file": str(name), **rest}:
            return {**_read_yaml(folder / name), **rest}
    return space


def _list_problems(error: ValidationError, raw: Mapping[str, Any]) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        path = _to_user_path(detail["loc"], raw, detail["type"] == "missing")
        yield Problem(".".join(str(p) for p in path), _write_message(detail, path, raw))


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


def _write_message(detail: ErrorDetails, path: Sequence[str | int], raw: Mapping[str, Any]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            valid = sorted(_find_valid_keys(path[:-1], raw))
            return f"unknown key{did_you_mean(path[-1], valid)}; valid: {', '.join(valid)}"
        case "missing":
            return "is missing"
        case "literal_error" | "union_tag_invalid":
            expected = str(detail["ctx"].get("expected") or detail["ctx"].get("expected_tags"))
            value = detail["ctx"].get("tag", detail["input"])
            return not_one_of(value, re.findall(r"'([^']*)'", expected))
        case "value_error":
            return str(detail["ctx"]["error"])
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return f"{message}, got {detail['input']!r}"


def _find_valid_keys(path: Sequence[str | int], raw: Mapping[str, Any]) -> set[str]:
    """The keys of the model at ``path``, as in a file."""
    models: list[type[BaseModel]] = [SweepSpec]
    node: Any = raw
    for key in path:
        node = node[key]
        if isinstance(key, str):
            fields = [f for m in models for n, f in m.model_fields.items() if key in (n, f.alias)]
            models = [m for f in fields for m in _find_models(f.annotation)]
    if isinstance(node, Mapping) and len(models) > 1:
        named = [m for m in models if node.get("name") in _list_names(m)]
        models = named or models
    return {f.alias or n for m in models for n, f in m.model_fields.items()}


def _find_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(getattr(annotation, "__value__", annotation)):
        yield from _find_models(argument)


def _list_names(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("name")
    return typing.get_args(field.annotation) if field else ()


def build_json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec file, including short forms."""
    schema = SweepSpec.model_json_schema(by_alias=True)
    properties = schema["properties"]
    of_preset = {
        "type": "object",
        "required": ["preset"],
        "properties": {"preset": {"enum": list(list_presets())}},
    }
    of_file = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string"}}}
    properties["space"] = {"anyOf": [of_preset, of_file, properties["space"]]}
    properties["early_stopping"]["anyOf"].append({"enum": [False, "off"]})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
