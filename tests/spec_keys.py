"""The list of a spec's keys, from its JSON Schema: ``make keys`` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.spec.file import build_json_schema
from trainables.config import regularisers
from trainables.config.augmentations import augmentations
from trainables.config.imports import IMPORT_PATH
from trainables.config.penalties import penalties
from trainables.config.registry import Registry

Schema = Mapping[str, Any]

KEYS = Path(__file__).parents[1] / "service" / "spec" / "KEYS.md"
NAMING: Mapping[str, Registry[Any]] = {"penalty": penalties, "augmentation": augmentations}
"""The keys of a space whose values name components; the schema has them as text."""
CUSTOM = {"type": "string", "pattern": IMPORT_PATH}
HEAD = """# The keys of a spec

<!-- generated from the JSON Schema by `make keys`; do not edit -->

`gapsweep schema` prints the JSON Schema, for editors. A component (data, optimizer, schedule, early
stopping, sampler, pruner) is written as its name, or as `{name: …, option: …}`; your own one as
`module:Name`. A key without a default is required.
"""
SPACE = """## Keys of the space that are regularisers

Beside these a space may name every plain key of `training`, `model.NAME` for an argument of the
trainable, and `LABEL.OPTION` for an option of a regulariser of your own.
"""


def render() -> str:
    """The whole list, as Markdown."""
    schema = build_json_schema()
    parts = [*_sections("", schema, schema["$defs"]), _regularisers()]
    return "\n".join([HEAD, *parts])


def _sections(path: str, schema: Schema, definitions: Schema) -> Iterator[str]:
    """A section for an object of the spec, then those of the objects in it."""
    if path != "space":
        yield _section(f"## `{path}`" if path else "## The spec", schema, definitions)
    else:
        yield _section("## A parameter of the space", _merged(schema, definitions), definitions)
        return
    for key, value in schema["properties"].items():
        below = f"{path}.{key}" if path else key
        models = list(_models(value, definitions))
        components = [m for m in models if "name" in m.get("properties", {}) and len(models) > 1]
        if components:
            yield _components(below, components, definitions)
            yield from _nested_components(below, components, definitions)
        elif models:
            yield from _sections(below, models[0], definitions)


def _section(title: str, schema: Schema, definitions: Schema) -> str:
    rows = [
        _row(f"`{key}`", key, value, schema, definitions)
        for key, value in schema["properties"].items()
    ]
    return "\n".join([title, "", *_described(schema), *_table("key", rows)])


def _components(path: str, models: Sequence[Schema], definitions: Schema) -> str:
    """One table of the components that a key can name, each with its options."""
    rows: list[list[str]] = []
    for model in models:
        name = model["properties"]["name"]
        names = " ".join(f"`{n}`" for n in name.get("enum", [name.get("const", "module:Name")]))
        rows.append([names, "", "", _sentence(model)])
        rows += [
            _row(f"{names} `{key}`", key, value, model, definitions)
            for key, value in model["properties"].items()
            if key != "name"
        ]
    return "\n".join([f"## Components of `{path}`", "", *_table("name, option", rows)])


def _nested_components(path: str, models: Sequence[Schema], definitions: Schema) -> Iterator[str]:
    """Tables of the components that options of components can name, each once."""
    shown = [models]
    for model in models:
        for key, value in model["properties"].items():
            found = [m for m in _models(value, definitions) if "name" in m.get("properties", {})]
            if len(found) > 1 and found not in shown:
                shown.append(found)
                yield _components(f"{path}.{key}", found, definitions)


def _regularisers() -> str:
    rows = []
    for config in regularisers.BUILT_IN:
        schema = config.model_json_schema(by_alias=True)
        for key, value in schema["properties"].items():
            if key in NAMING:
                value = {**value, "anyOf": [{"enum": ["none", *NAMING[key].built_in()]}, CUSTOM]}
            rows.append(_row(f"`{key}`", key, value, schema, schema.get("$defs", {})))
    return "\n".join([SPACE, *_table("key", rows)])


def _merged(schema: Schema, definitions: Schema) -> Schema:
    """The keys of every kind of parameter together."""
    members = schema["additionalProperties"]["anyOf"]
    kinds = (definitions[_name(member)] for member in members if "$ref" in member)
    merged: dict[str, Any] = {}
    for kind in kinds:
        merged = {**merged, **kind.get("properties", {})}
    first = {k: merged.pop(k) for k in ("float", "int", "choice", "auto")}
    about = (
        "A space is a mapping of names to parameters. Each has one of `float`, `int`, `choice` "
        "and, for `lambda` only, `auto`; or it is a constant, or a list of alternatives, each with "
        "its own `when`, of which no two can be met at the same point."
    )
    return {"properties": {**first, **merged}, "description": about, "required": list(first)}


def _models(value: Schema, definitions: Schema) -> Iterator[Schema]:
    """The objects that a key can hold; not its plain values."""
    if "$ref" in value:
        found = definitions[_name(value)]
        if "properties" in found or "additionalProperties" in found:
            yield found
    for member in (*value.get("anyOf", ()), *value.get("oneOf", ())):
        yield from _models(member, definitions)
    if isinstance(value.get("items"), Mapping):
        yield from _models(value["items"], definitions)
    for member in value.get("patternProperties", {}).values():
        yield from _models(member, definitions)


def _row(shown: str, key: str, value: Schema, schema: Schema, definitions: Schema) -> list[str]:
    return [shown, _type(value, definitions), _default(key, value, schema), _meaning(value)]


def _table(first: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {first} | value | default | meaning |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _type(value: Schema, definitions: Schema) -> str:
    """What a key takes, in a few words."""
    if "$ref" in value:
        found = definitions[_name(value)]
        return _words(found["enum"]) if "enum" in found else "keys"
    if "enum" in value:
        return _words(value["enum"])
    for union in ("anyOf", "oneOf"):
        if union in value:
            kinds = (_type(m, definitions) for m in value[union] if m.get("type") != "null")
            return ", ".join(dict.fromkeys(k for k in kinds if k))
    return _plain(value, definitions)


def _plain(value: Schema, definitions: Schema) -> str:
    match value.get("type"):
        case "array" if "prefixItems" in value:
            return f"[{', '.join(_type(i, definitions) for i in value['prefixItems'])}]"
        case "array":
            return f"list of {_type(value.get('items', {}), definitions) or 'values'}"
        case "object":
            return "keys"
        case "string" if ":" in value.get("pattern", ""):
            return "`module:Name`"
        case "string":
            return "path" if value.get("format") == "path" else "text"
        case "boolean":
            return "true, false"
        case "integer" | "number":
            kind = "whole number" if value["type"] == "integer" else "number"
            return f"{kind}{_range(value)}"
    return ""


def _range(value: Schema) -> str:
    if "minimum" in value and "maximum" in value:
        return f" from {_number(value['minimum'])} to {_number(value['maximum'])}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return "".join(f" {sign} {_number(value[key])}" for key, sign in signs.items() if key in value)


def _number(number: float) -> str:
    whole = number == int(number) and 1e4 <= abs(number) <= 1e7
    return f"{int(number):,}" if whole else f"{number:g}"


def _default(key: str, value: Schema, schema: Schema) -> str:
    if key in schema.get("required", ()):
        return ""
    default = value.get("default")
    if default is None or default == "":
        return "none"
    if isinstance(default, Mapping):
        return f"`{default['name']}`" if "name" in default else "see below"
    return f"`{json.dumps(default).strip(chr(34))}`"


def _meaning(value: Schema) -> str:
    return str(value.get("description", "")).replace("\n", " ")


def _described(schema: Schema) -> Iterator[str]:
    if "description" in schema:
        yield _sentence(schema)
        yield ""


def _sentence(schema: Schema) -> str:
    return " ".join(str(schema.get("description", "")).replace("``", "`").split())


def _words(values: Sequence[object]) -> str:
    return ", ".join(f"`{str(v).lower() if isinstance(v, bool) else v}`" for v in values)


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


if __name__ == "__main__":
    KEYS.write_text(render(), encoding="utf-8")
