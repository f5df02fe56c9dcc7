"""Removes the runs of sweeps from MLflow: a sweep's run, its trials', and their artifacts.

What a refit registered is kept, with the refit's run: a registered model may be in use elsewhere,
and is deleted in MLflow. MLflow only marks runs as deleted; a server of ours, or whoever has the
database, then removes those that were marked here, see :func:`purge_runs`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracking._tracking_service.utils import _get_store

from service.base.errors import ServerError
from service.base.redaction import redact
from service.base.uris import find_sqlite_path
from service.sweep.environment import DATABASES, EXPERIMENT
from service.sweep.lost_items import describe_error
from service.tracking.run_tags import REFIT_ROLE, ROLE_TAG, SWEEP_TAG

PURGE_TAG = "gapsweep.removed"
"""The tag of a run that is to be removed and not only marked as deleted."""
_PROXIED = "mlflow-artifacts:/"
_PAGE = 500


def remove_runs(uri: str, artifacts: str | None, sweep_id: str) -> int:
    """Remove a sweep's runs and their artifacts; how many there were.

    ``artifacts`` is the URI of the home's folder of them, if no server has them. It may be
    interrupted and be repeated.

    Raises:
        ServerError: MLflow does not answer, or does not allow it.
    """
    path = find_sqlite_path(uri)
    if path is not None and not path.exists():
        return 0
    try:
        removed = _RunRemoval(uri, artifacts, sweep_id).carry_out()
        if uri.startswith(DATABASES):
            purge_runs(_get_store(uri))  # type: ignore[no-untyped-call]  # MLflow's
    except (MlflowException, OSError) as error:
        raise ServerError(
            f"the runs of {sweep_id} cannot be removed from MLflow at {redact(uri)}: "
            f"{describe_error(error)}"
        ) from error
    return removed


def purge_runs(store: Any) -> int:
    """Remove the marked runs from MLflow's own store, with all they logged; how many there were."""
    experiment = store.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return 0
    marked, places = f"tags.`{PURGE_TAG}` = 'yes'", [str(experiment.experiment_id)]
    removed = 0
    while found := store.search_runs(places, marked, ViewType.DELETED_ONLY, _PAGE):
        for run in found:
            with suppress(MlflowException):  # another process has removed it
                store._hard_delete_run(run.info.run_id)
        removed += len(found)
    return removed


class _RunRemoval:
    """The removal of one sweep's runs."""

    def __init__(self, uri: str, artifacts: str | None, sweep_id: str) -> None:
        self._client = mlflow.MlflowClient(uri)
        self._uri, self._artifacts = uri, artifacts
        self._condition = f"tags.`{SWEEP_TAG}` = '{sweep_id}'"

    def carry_out(self) -> int:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return 0
        removed, places = 0, [str(experiment.experiment_id)]
        for run in self._search(places, ViewType.DELETED_ONLY):  # which a person has deleted
            if PURGE_TAG not in run.data.tags:
                self._client.restore_run(run.info.run_id)
        while found := self._search(places, ViewType.ACTIVE_ONLY):
            for run in found:
                self._remove(run)
            removed += len(found)
        return removed

    def _search(self, places: list[str], view: int) -> list[Run]:
        """Some of the runs; a filter on a tag would leave out those without the tag."""
        found = self._client.search_runs(places, self._condition, view, _PAGE)
        return [run for run in found if run.data.tags.get(ROLE_TAG) != REFIT_ROLE]

    def _remove(self, run: Run) -> None:
        name = run.info.run_id
        folder = str(run.info.artifact_uri).removesuffix("/artifacts")
        if folder.endswith(f"/{name}"):  # else a person has put them elsewhere
            _delete_folder(folder.removesuffix(f"/{name}"), name, self._uri, self._artifacts)
        self._client.set_tag(name, PURGE_TAG, "yes")
        self._client.delete_run(name)


def _delete_folder(base: str, name: str, uri: str, artifacts: str | None) -> None:
    """Delete one folder of an artifact store; of the home's own if no server is asked."""
    store: Any
    if base.startswith(_PROXIED) and artifacts is not None:
        below = base.removeprefix(_PROXIED).strip("/")
        store = LocalArtifactRepository(f"{artifacts}/{below}")
    else:
        store = get_artifact_repository(base, tracking_uri=uri)
    store.delete_artifacts(name)
