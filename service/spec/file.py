"""Reads a SweepSpec from YAML or JSON: presets, files, overrides and readable errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from search_spaces.presets import list_presets, load_preset
from search_spaces.unknown_names import not_one_of
from service.base.errors import InputError, Problem, SpecError
from service.spec.invalid import describe_problems
from service.spec.model import SweepSpec
from service.spec.raw_limits import find_excess
from service.spec.yaml_reader import describe_yaml_error, read_mapping, read_yaml

_MOVED = {
    "trainables.vision:MLP": "trainables.models:MLP",
    "trainables.vision:CNN": "trainables.models:CNN",
    "trainables.tabular:MLP": "trainables.models:MLP",
}

_PICKS = {"best_mean": "best", "one_standard_error": "simplest"}


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Write a value out wherever it occurs: readers refuse aliases."""
        return True


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
        SpecError: the spec is invalid; the first problems at once, and the number of the others.
    """
    excess = find_excess(raw)
    if excess:
        raise SpecError(source, [excess])
    return parse_checked_spec(raw, source, folder)


def parse_checked_spec(raw: Mapping[str, Any], source: str, folder: Path) -> SweepSpec:
    """The same for a spec whose size is known to be small, or was accepted before.

    Raises:
        SpecError: as :func:`parse_spec`.
    """
    raw = {**raw, **_update_trainable(raw), **_update_confirm(raw)}
    if "space" in raw:
        raw["space"] = _resolve_space(raw["space"], source, folder)
    try:
        spec = SweepSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(source, describe_problems(error, raw)) from None
    if spec.data is None:
        return spec
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
    return yaml.dump(raw, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return read_mapping(text, str(path))


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
        node[last] = read_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override!r}: {describe_yaml_error(error)}") from None


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
    constant = {"type": ["boolean", "number", "string"], "description": "a constant, or `auto`"}
    schema["$defs"]["SearchSpace"]["additionalProperties"]["anyOf"].append(constant)
    properties["early_stopping"]["anyOf"].append({"enum": [False, "off"]})
    properties["audit"]["anyOf"].append({"enum": [False, "off", True, "on"]})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
