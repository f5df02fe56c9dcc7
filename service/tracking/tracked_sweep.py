"""What MLflow is told of a sweep. Imports no MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class TrackedSweep:
    """The description of a sweep in its runs: its parameters, its trainable, its data, its code.

    ``data_digest`` distinguishes data of the same name, in at most 36 characters.
    """

    sweep_id: str
    name: str
    trainable: str
    data: str
    data_digest: str
    params: Mapping[str, str]
    spec: Path
    code: str = ""
