"""What MLflow is told of a sweep. Imports no MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.base.uris import find_sqlite_path


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


def choose_batch(uri: str) -> int:
    """How many trials to write to an MLflow at once.

    One transaction takes many where this process reaches the database. A server gets them one by
    one, so that a failure repeats little.
    """
    return 100 if find_sqlite_path(uri) is not None else 1
