"""The file by which an attempt's driver finds its service: ``driver.json`` in the sweep's folder.

It contains the sweep's token. It is therefore a file that only its owner can read, and not an
option or environment variable of a job, which the cluster shows to all its users. The driver
deletes it when it has read it; the service deletes one that no driver has read.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from service.base.errors import DamagedFileError, HomeError
from service.base.files import replace_file
from service.sweep.home import SweepFolder


class DriverConfig(BaseModel):
    """Where the API and MLflow are, and the sweep's token for both.

    ``mlflow_uri`` None means the driver's default.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    api_url: str
    token: str
    mlflow_uri: str | None


def write(config: DriverConfig, folder: SweepFolder) -> None:
    """Write the file atomically, readable by its owner only; the folder is made.

    Raises:
        OSError: the folder cannot be written, or is no folder.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    if folder.path.is_symlink():
        raise NotADirectoryError(20, "is a link", str(folder.path))
    with replace_file(folder.driver_file, mode=0o600) as temporary:
        temporary.write_text(config.model_dump_json(), encoding="utf-8")


def take(folder: SweepFolder) -> DriverConfig:
    """Read the file and delete it.

    Raises:
        HomeError: it is not there: the nodes do not share the home folder, or a driver was started
            twice.
    """
    path = folder.driver_file
    try:
        config = DriverConfig.model_validate_json(folder.read(path))
    except (OSError, DamagedFileError, ValidationError):
        raise HomeError(
            f"{path} cannot be read; the service and the cluster's nodes must share the home "
            "folder and run as the same user"
        ) from None
    remove(folder)
    return config


def remove(folder: SweepFolder) -> None:
    """Delete the file, if it is there.

    Raises:
        OSError: it cannot be deleted.
    """
    folder.driver_file.unlink(missing_ok=True)
