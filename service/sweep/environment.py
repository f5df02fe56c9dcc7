"""Locations of files and servers, from options and environment variables."""

from __future__ import annotations

import os
from pathlib import Path

from service.base.accounts import find_account_folder
from service.sweep.home import Home

DEFAULT_HOME = "gapsweep-data"
EXPERIMENT = "gapsweep"
"""The name of the MLflow experiment that contains all sweeps."""
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""The beginnings of MLflow URIs that name a database, which no server is asked for."""


def use_ray_token() -> None:
    """Make Ray send the authentication token if there is one; call it before Ray is imported.

    A cluster that was started with a token requires it; Ray sends it only in token mode.
    """
    named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    account = find_account_folder()
    if named or (account is not None and (account / ".ray" / "auth_token").exists()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def locate_home(option: Path | str | None) -> Home:
    """Return the home folder: the option, else ``GAPSWEEP_HOME``, else ``./gapsweep-data``."""
    return Home(Path(option or os.environ.get("GAPSWEEP_HOME") or DEFAULT_HOME).resolve())


def get_mlflow_uri(home: Home) -> str | None:
    """Return MLflow's URI: ``GAPSWEEP_MLFLOW_URI``, else ``MLFLOW_TRACKING_URI``, else the home's.

    None for ``off``: nothing is logged.
    """
    named = os.environ.get("GAPSWEEP_MLFLOW_URI") or os.environ.get("MLFLOW_TRACKING_URI")
    return None if named == "off" else named or home.mlflow_uri


def get_artifact_location(home: Home) -> str | None:
    """Return the artifact folder of the home; None if a tracking server chooses the location."""
    uri = get_mlflow_uri(home) or ""
    return home.artifacts.as_uri() if uri.startswith(DATABASES) else None
