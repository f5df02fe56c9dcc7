"""A spec as Python code gives it: a file, a mapping, or a loaded one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
            return parse_spec(spec, "the spec", here), "the spec", [here]
    path = Path(spec)
    return load_spec(path), str(path), [path.resolve().parent, here]
