"""MLflow's experiment of all sweeps, and the runs of one sweep in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import mlflow
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException

from service.sweep.environment import EXPERIMENT
from service.tracking.entities import make_tag_texts
from service.tracking.outbox import SinkEmptiedError
from service.tracking.refusals import is_away
from service.tracking.run_tags import SWEEP_TAG

_PAGE = 1000
"""Runs a call, MLflow's default limit."""


class Experiment:
    """The experiment, found or created. Blocking; it raises MLflow's errors.

    ``artifacts`` is where a new one keeps its artifacts, if its server does not say it.
    """

    def __init__(self, client: mlflow.MlflowClient, artifacts: str | None, sweep_id: str) -> None:
        self._client, self._artifacts, self._sweep_id = client, artifacts, sweep_id
        self.id = self._find()

    def find_runs(self) -> Sequence[Run]:
        """All runs of the sweep."""
        return search_runs(self._client, self.id, f"tags.`{SWEEP_TAG}` = '{self._sweep_id}'")

    def create_run(self, tags: Mapping[str, str], started: int | None = None) -> str:
        """Create a run with tags; its id. ``started`` is in Unix milliseconds.

        Raises:
            SinkEmptiedError: the experiment was deleted.
        """
        try:
            made = self._client.create_run(self.id, started, make_tag_texts(tags))
            return str(made.info.run_id)
        except MlflowException as error:
            if is_away(error) or self._is_there():
                raise
            raise SinkEmptiedError(f"the experiment {EXPERIMENT} was deleted") from error

    def _find(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None and found.lifecycle_stage == LifecycleStage.DELETED:
            self._put_aside(found)
            found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=self._artifacts))

    def _put_aside(self, deleted: mlflow.entities.Experiment) -> None:
        """Rename a deleted experiment, whose name is taken until then; it stays deleted.

        It is restored instead where this user may neither rename nor delete experiments.
        """
        number = deleted.experiment_id
        self._client.restore_experiment(number)
        with suppress(MlflowException):
            self._client.rename_experiment(number, f"{EXPERIMENT} (deleted, {number})")
            self._client.delete_experiment(number)

    def _is_there(self) -> bool:
        try:
            found = self._client.get_experiment(self.id)
        except MlflowException as error:
            if is_away(error):
                raise
            return False
        return bool(found.lifecycle_stage == LifecycleStage.ACTIVE)


def search_runs(client: mlflow.MlflowClient, experiment: str, condition: str) -> Sequence[Run]:
    """Every run of an experiment that meets a condition, page by page."""
    found: list[Run] = []
    token: str | None = None
    while token is None or token:
        page = client.search_runs([experiment], condition, max_results=_PAGE, page_token=token)
        found.extend(page)
        token = page.token or ""
    return found
