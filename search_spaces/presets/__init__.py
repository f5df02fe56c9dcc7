"""Search-space presets, one YAML file each."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml


def list_presets() -> tuple[str, ...]:
    """The names that ``space: {preset: NAME}`` accepts."""
    entries = (p.name for p in files(__name__).iterdir())
    return tuple(sorted(n.removesuffix(".yaml") for n in entries if n.endswith(".yaml")))


def load_preset(name: str) -> dict[str, Any]:
    """The preset as a mapping, which SearchSpace validates.

    Raises:
        FileNotFoundError: no preset has that name.
    """
    raw: dict[str, Any] = yaml.safe_load((files(__name__) / f"{name}.yaml").read_text("utf-8"))
    return raw
