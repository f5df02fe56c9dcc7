"""Where a run's artifacts are put, by a process that reaches MLflow's database or its server."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

_PROXIED = "mlflow-artifacts:/"


def log_artifact(
    client: MlflowClient, run: str, path: Path, folder: str | None, root: str | None
) -> None:
    """Add a file to a run's artifacts; ``root`` is the URI of the home's folder of them.

    An experiment that was created through a server refers to the server's folder. Without a server,
    when ``root`` is given, MLflow does not know that folder: it is the home's.
    """
    place = str(client.get_run(run).info.artifact_uri) if root is not None else ""
    if place.startswith(_PROXIED):
        below = place.removeprefix(_PROXIED).strip("/")
        LocalArtifactRepository(f"{root}/{below}").log_artifact(str(path), folder)  # type: ignore[no-untyped-call]  # MLflow's
    else:
        client.log_artifact(run, str(path), folder)
