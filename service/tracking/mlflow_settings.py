"""The settings of an MLflow server of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class MlflowSettings:
    """``api`` is the URL of the service whose tokens it takes; without one, it takes none.

    ``allowed_hosts`` are the names that it may be asked by, with ``*`` for any part; empty: this
    machine's and private addresses.
    """

    database: str
    artifacts: Path
    host: str
    port: int
    api: str | None = None
    allowed_hosts: str = ""
