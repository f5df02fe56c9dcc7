"""The file in the home folder that tells the drivers of a service's sweeps where its store is.

It contains the database's password. It is therefore a file that only its owner can read, and not an
option or environment variable of a job, which the cluster shows to all its users.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from service.base.errors import HomeError
from service.base.files import replace_file
from service.sweep.home import Home


class DriverConfig(BaseModel):
    """The URLs of the store and of MLflow; ``mlflow_uri`` None means the driver's default."""

    model_config = ConfigDict(frozen=True)

    version: str
    database_url: str
    mlflow_uri: str | None


def write(config: DriverConfig, home: Home) -> None:
    """Write the file atomically, readable by its owner only.

    Raises:
        HomeError: the home folder cannot be written.
    """
    try:
        with replace_file(_get_path(home), mode=0o600) as temporary:
            temporary.write_text(config.model_dump_json(), encoding="utf-8")
    except OSError as error:
        raise HomeError(f"home folder {home.path} cannot be written ({error.strerror})") from None


def read(home: Home) -> DriverConfig:
    """Read the file.

    Raises:
        HomeError: it is not there: the service uses another folder, or the nodes do not share it.
    """
    try:
        return DriverConfig.model_validate_json(_get_path(home).read_bytes())
    except (OSError, ValidationError):
        raise HomeError(
            f"{_get_path(home)} cannot be read; the service and the cluster's nodes must share the "
            "home folder"
        ) from None


def _get_path(home: Home) -> Path:
    return home.path / "service.json"
