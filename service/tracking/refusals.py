"""Tells an MLflow that is away from one that refuses an item, and writes around refused items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import mlflow
import requests
from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from service.sweep.lost_items import Losses, describe_error
from service.tracking.entities import describe, shorten
from service.tracking.outbox import SinkEmptiedError

Entity = Metric | Param | RunTag

_BATCHES: dict[type, int] = {Metric: 1000, Param: 100, RunTag: 100}
"""MLflow's limits of items a call."""
_REFUSING = frozenset(
    {
        "INVALID_PARAMETER_VALUE",
        "BAD_REQUEST",
        "MALFORMED_REQUEST",
        "INVALID_STATE",
        "NOT_IMPLEMENTED",
        "NOT_FOUND",
        "RESOURCE_DOES_NOT_EXIST",
        "ENDPOINT_NOT_FOUND",
        "ALREADY_EXISTS",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_CONFLICT",
        "ABORTED",
    }
)
_WAITING = frozenset({401, 403, 407, 408, 421, 425, 429, 499})
"""Statuses of requests that may be accepted later: a right is missing, or there were too many."""
_STATUS = re.compile(r"failed with error code (\d{3})\b")  # MLflow reads an unknown one as 500


class NotOpenError(ConnectionError):
    """The experiment or the sweep's run can neither be found nor created: MLflow is away."""


def is_away(error: Exception) -> bool:
    """Whether an error says that MLflow cannot be used for now.

    It is away if there is no connection, no right, an error of the server, or too many requests.
    Any other error refuses the request: to send it again cannot help.
    """
    if isinstance(error, MlflowException):
        stated = _STATUS.search(str(error))
        if stated is not None:
            return not _refuses(int(stated.group(1)))
        return error.error_code not in _REFUSING
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return not _refuses(error.response.status_code)
    return isinstance(error, OSError)


def _refuses(status: int) -> bool:
    return 400 <= status < 500 and status not in _WAITING


class BatchLog:
    """Logs items to runs in batches; a batch that is refused is halved down to the refused item."""

    def __init__(self, client: mlflow.MlflowClient, losses: Losses) -> None:
        self._client, self._losses = client, losses

    def log(self, run: str, entities: Sequence[Entity]) -> None:
        """Log metrics, parameters and tags, without those that MLflow refuses.

        Raises:
            SinkEmptiedError: the run was deleted.
        """
        for batch in _batches(entities):
            try:
                self._send(run, batch)
            except Exception as error:
                if is_away(error):
                    raise
                self._check_run(run)
                self._log_apart(run, batch, error)

    def _log_apart(self, run: str, batch: Sequence[Entity], error: Exception) -> None:
        if len(batch) > 1:
            half = len(batch) // 2
            self._log_part(run, batch[:half])
            self._log_part(run, batch[half:])
        elif (shorter := shorten(batch[0])) is not None:
            self._log_part(run, [shorter])
        else:
            self._losses.add(describe(batch), describe_error(error))

    def _log_part(self, run: str, batch: Sequence[Entity]) -> None:
        try:
            self._send(run, batch)
        except Exception as error:
            if is_away(error):
                raise
            self._log_apart(run, batch, error)

    def _send(self, run: str, batch: Sequence[Entity]) -> None:
        self._client.log_batch(
            run,
            metrics=[e for e in batch if isinstance(e, Metric)],
            params=[e for e in batch if isinstance(e, Param)],
            tags=[e for e in batch if isinstance(e, RunTag)],
        )

    def _check_run(self, run: str) -> None:
        """Raise if the run was deleted: then nothing is wrong with what was logged."""
        try:
            stage = self._client.get_run(run).info.lifecycle_stage
        except MlflowException as error:
            if is_away(error):
                raise
            stage = LifecycleStage.DELETED
        if stage != LifecycleStage.ACTIVE:
            raise SinkEmptiedError(f"the run {run} was deleted")


def _batches(entities: Sequence[Entity]) -> Iterator[Sequence[Entity]]:
    """Batches of what one call takes; tags go with metrics where both fit."""
    if not entities:
        return
    if len(entities) <= min(_BATCHES.values()):
        yield entities
        return
    for kind, size in _BATCHES.items():
        some = [e for e in entities if isinstance(e, kind)]
        yield from (some[i : i + size] for i in range(0, len(some), size))
