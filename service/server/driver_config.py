"""What the service leaves in the home folder for the drivers of its sweeps.

It holds the database's password, so that it is a file that only its owner reads, and no option or
variable of a job, which the cluster shows to whoever looks.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from service.base.errors import HomeError
from service.sweep.home import Home


class Handover(BaseModel):
    """Where a driver finds the store and MLflow (None: as its own machine has it)."""

    model_config = ConfigDict(frozen=True)

    version: str
    database_url: str
    mlflow_uri: str | None


def leave(handover: Handover, home: Home) -> None:
    """Write it, whole or not at all.

    Raises:
        HomeError: the home cannot be written.
    """
    path = _path(home)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.touch(mode=0o600, exist_ok=False)
        temporary.write_text(handover.model_dump_json(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise HomeError(f"home folder {home.path} cannot be written ({error.strerror})") from None


def find(home: Home) -> Handover:
    """Read it.

    Raises:
        HomeError: it is not there: the service works in another folder, or the nodes do not share
            this one.
    """
    try:
        return Handover.model_validate_json(_path(home).read_bytes())
    except (OSError, ValidationError):
        raise HomeError(
            f"{_path(home)} cannot be read; the cluster's nodes and the service must share their "
            "home folder"
        ) from None


def _path(home: Home) -> Path:
    return home.path / "service.json"
