"""Reads specs that a gapsweep has stored, maybe an older one that had other bounds of numbers.

They are in YAML 1.1, as :func:`service.spec.file.dump_spec` writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_spaces.bounds import without_bounds
from service.spec.file import parse_checked_spec
from service.spec.model import SweepSpec
from service.spec.yaml_reader import read_mapping, read_stored_yaml


def parse_stored_spec(text: str, source: str, folder: Path) -> SweepSpec:
    """The spec, whatever its numbers. It imports no code that the spec names.

    Raises:
        InputError: it is not a mapping in YAML.
        SpecError: it is not valid in this version.
    """
    return build_stored_spec(read_stored_spec(text.encode(), source), source, folder)


def read_stored_spec(text: bytes, source: str) -> dict[str, Any]:
    """The keys of a stored spec, which users' code may have changed.

    Raises:
        InputError: it is not a mapping in YAML.
    """
    return read_mapping(text, source, read_stored_yaml)


def build_stored_spec(raw: dict[str, Any], source: str, folder: Path) -> SweepSpec:
    """The spec of these keys.

    Raises:
        SpecError: it is not valid in this version.
    """
    with without_bounds():
        return parse_checked_spec(raw, source, folder)
