"""Gives each attempt's driver what it needs of the service, and takes it back."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from service.base.errors import LaunchError
from service.base.versions import get_installed_version
from service.server import driver_config
from service.server.store.job_records import Job
from service.server.store.sweep_tokens import SweepScope, SweepTokens
from service.sweep.home import Home

_FULL = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger(__name__)


class Handover:
    """The files of one service's drivers, in the folders of their sweeps."""

    def __init__(
        self, home: Path, tokens: SweepTokens, api_url: str, mlflow_uri: str | None
    ) -> None:
        self._home, self._tokens = Home(home), tokens
        self._api_url, self._mlflow_uri = api_url, mlflow_uri

    def give(self, job: Job) -> None:
        """Leave the file for the driver of the job's attempt.

        Raises:
            LaunchError: the sweep's folder cannot be written.
            OSError: the file system is full.
        """
        config = driver_config.DriverConfig(
            version=get_installed_version(),
            api_url=self._api_url,
            token=self._tokens.make(SweepScope(job.sweep_id, job.attempt)),
            mlflow_uri=self._mlflow_uri,
        )
        folder = self._home.sweep(job.sweep_id)
        try:
            driver_config.write(config, folder)
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise LaunchError(f"{folder.path} cannot be written ({error.strerror})") from None

    def take_back(self, job: Job) -> None:
        """Delete the file of an attempt that is over; its token is worth nothing any more."""
        try:
            driver_config.remove(self._home.sweep(job.sweep_id))
        except OSError as error:
            _log.warning("%s: its driver's file cannot be deleted: %s", job.sweep_id, error)
