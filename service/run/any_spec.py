"""A spec as Python code gives it: a file, a mapping with classes in it, or a loaded one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from service.spec.file import load_spec, parse_spec
from service.spec.model import SweepSpec

SpecLike = SweepSpec | Mapping[str, Any] | Path | str


def load_any(spec: SpecLike) -> tuple[SweepSpec, str, list[Path]]:
    """A spec, what errors call it, and the folders of its modules.

    Raises:
        SpecError, InputError: it is invalid, or cannot be read.
    """
    here = Path.cwd()
    match spec:
        case SweepSpec():
            return spec, "the spec", [here]
        case Mapping():
            return parse_spec(_name_code(spec), "the spec", here), "the spec", [here]
    path = Path(spec)
    return load_spec(path), str(path), [path.resolve().parent, here]


def _name_code(value: Any) -> Any:
    """The value with classes and functions replaced by their import paths, which a spec takes."""
    if isinstance(value, Mapping):
        return {key: _name_code(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_name_code(part) for part in value]
    named = isinstance(value, type | FunctionType) and value.__qualname__.isidentifier()
    return f"{value.__module__}:{value.__qualname__}" if named else value
