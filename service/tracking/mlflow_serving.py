"""Runs MLflow's server in this process, behind our guard. It takes a second to import."""

from __future__ import annotations

import logging
import os
import threading
import time

from service.base.server_logging import configure_logging
from service.tracking.mlflow_settings import MlflowSettings

_HOSTS = "MLFLOW_SERVER_ALLOWED_HOSTS"
_ROOT = "mlflow-artifacts:/"
"""Where the artifacts of new experiments are: below the folder that this server serves."""
_GRACE = 5
_PURGE_PERIOD = 10.0
"""Seconds between looks for runs that are to be removed."""
_log = logging.getLogger(__name__)
_SWITCHED_OFF = (
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
    "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
    "MLFLOW_ENABLE_REMOTE_ASSISTANT",
    "MLFLOW_TRACE_ARCHIVAL_CONFIG",
    "MLFLOW_TRACKING_URI",
    "prometheus_multiproc_dir",
)


def serve_mlflow(settings: MlflowSettings) -> None:
    """Serve until the process receives a signal to stop."""
    configure_logging()
    _prepare(settings)
    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    from service.tracking.confined_artifacts import confine_artifacts
    from service.tracking.mlflow_guard import Guard
    from service.tracking.new_database import create_database

    authority = None
    if settings.api is not None:
        from service.tracking.api_tokens import ApiTokens

        authority = ApiTokens(settings.api)
    confine_artifacts(settings.artifacts)
    create_database(settings.database, _ROOT)
    initialize_backend_stores(settings.database, settings.database, _ROOT)
    threading.Thread(target=_purge, name="purge", daemon=True).start()
    uvicorn.run(
        Guard(app, authority),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )


def _purge() -> None:
    """Remove the runs of deleted sweeps from the database, again and again."""
    from mlflow.server.handlers import _get_tracking_store

    from service.tracking.run_removal import purge_runs

    while True:
        try:
            purge_runs(_get_tracking_store())
        except Exception as error:  # the database may be away; the server says so itself
            _log.warning("runs of deleted sweeps are not removed: %s", error)
        time.sleep(_PURGE_PERIOD)


def _prepare(settings: MlflowSettings) -> None:
    """Set what MLflow reads from the environment while it is imported, as ``mlflow server`` does.

    It writes nothing of its own into the working directory, but a later version may.
    """
    folder = settings.artifacts.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for name in _SWITCHED_OFF:
        os.environ.pop(name, None)
    os.environ.update(
        {
            "_MLFLOW_SERVER_FILE_STORE": settings.database,
            "_MLFLOW_SERVER_REGISTRY_STORE": settings.database,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": _ROOT,
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": folder.as_uri(),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # unused, 2 GB
            "MLFLOW_ENABLE_WORKSPACES": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
    )
    if settings.allowed_hosts:
        os.environ[_HOSTS] = settings.allowed_hosts
