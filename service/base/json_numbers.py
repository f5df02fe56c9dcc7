"""Numbers that may be NaN or infinite, in JSON, which has neither.

A metric may be any number: a side metric of a trial that diverged is NaN. Models that are written
as JSON have such numbers as ``Number``: it writes the strings ``"NaN"``, ``"Infinity"`` and
``"-Infinity"``, and reads them again, and ``null``, which older versions wrote for all three.
The journal and ``history.jsonl`` have them as Python's ``json`` writes them, which Optuna and
every version of gapsweep read.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema


def _read(value: Any) -> Any:
    return math.nan if value is None else value


def _write(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


Number = Annotated[
    float,
    BeforeValidator(_read),
    PlainSerializer(_write, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
            ]
        }
    ),
]
"""A float of a model that is written as JSON."""
