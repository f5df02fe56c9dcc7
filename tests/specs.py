"""The smallest spec, changed, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.base.errors import SpecError
from service.spec.file import parse_spec
from service.spec.model import SweepSpec

BASE: dict[str, Any] = {
    "name": "mine",
    "trainable": "trainables.models:MLP",
    "data": {"name": "digits"},
    "space": {"dropout": {"float": [0.0, 0.5]}},
}


def parse(**changes: Any) -> SweepSpec:
    """The spec with these keys set."""
    return parse_spec({**BASE, **changes}, "spec.yaml", Path())


def problems(**changes: Any) -> dict[str, str]:
    """What is wrong with the spec with these keys set, by the keys' paths."""
    with pytest.raises(SpecError) as caught:
        parse(**changes)
    return {p.path: p.message for p in caught.value.problems}
