"""Keeps a service's disk in order: deletes, measures and drops unused bundles, in small steps.

Every step may be interrupted and be repeated, also by another process.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from service.base.errors import ConflictError, SweepNotFoundError
from service.base.folder_size import measure_folder
from service.client.audit_actions import AuditAction
from service.server.mlflow_tasks import RunTask
from service.server.store.callers import Actor
from service.server.store.job_records import Job
from service.server.sweep_service import SweepService
from service.sweep.folder_removal import delete_aside, set_aside
from service.sweep.home import Home

BUNDLE_GRACE = 7 * 86_400.0
"""Seconds from its last upload for which a bundle that no sweep has is kept."""
MEASURE_PERIOD = 60.0
"""Seconds between measurements of a sweep that is on the cluster."""
ANNOUNCE_PATIENCE = 3_900.0
"""Seconds for which a deletion waits for webhooks, which give an event up after an hour."""
_BATCH = 20
"""Sweeps that one round deletes, and that it measures."""
_ROUND = 20.0
"""Seconds after which a round begins no other step."""
_BUNDLE_PERIOD = 3_600.0
_MLFLOW_PAUSE = 60.0
"""Seconds before MLflow is asked again that could not remove runs."""
_BY = "retention"
_ACTOR = Actor(user=_BY, address="server")
_log = logging.getLogger(__name__)


class Upkeep:
    """The rounds of one service. ``keep_days`` is how long sweeps that have ended are kept."""

    def __init__(
        self,
        service: SweepService,
        remove_runs: RunTask,
        keep_days: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service, self._home = service, Home(service.settings.home)
        self._deletions, self._storage = service.deletions, service.storage
        self._remove_runs, self._keep_days, self._clock = remove_runs, keep_days, clock
        self._without_runs: frozenset[str] = frozenset()
        self._mlflow_pause_until = 0.0
        self._bundles_after = 0.0

    def round(self) -> None:
        """Mark sweeps that are too old, delete what is marked, measure, drop bundles.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        end = self._clock() + _ROUND
        if self._keep_days is not None:
            self._mark_old(self._keep_days)
        self._delete_marked(end)
        for sweep_id in self._storage.list_unmeasured(MEASURE_PERIOD, _BATCH):
            if self._clock() < end:
                size = measure_folder(self._home.sweep(sweep_id).path)
                self._storage.record_size(sweep_id, size.bytes)
        if self._clock() >= self._bundles_after:
            self._drop_bundles()
            self._bundles_after = self._clock() + _BUNDLE_PERIOD

    def _mark_old(self, days: float) -> None:
        before = self._clock() - 86_400.0 * days
        for sweep_id in self._deletions.list_ended(before, _BATCH):
            why = f"it ended more than {days:g} days ago"
            deleting = self._service.audit.recording(
                _ACTOR, AuditAction.SWEEP_DELETE, sweep=sweep_id, detail=why
            )
            with suppress(ConflictError, SweepNotFoundError), deleting:  # else changed meanwhile
                self._deletions.mark(sweep_id, _BY, why)

    def _delete_marked(self, end: float) -> None:
        """Delete the folders first and the rows last, which say what is left to be done."""
        marked = self._deletions.list_marked(_BATCH)
        gone = [job for job in marked if self._clock() < end and self._delete_folder(job)]
        self._without_runs &= {job.sweep_id for job in marked}
        self._delete_runs([j.sweep_id for j in gone if j.sweep_id not in self._without_runs])
        for job in gone:
            if job.sweep_id in self._without_runs and self._is_announced(job):
                self._deletions.forget(job.sweep_id)
                _log.info("%s is deleted", job.sweep_id)

    def _delete_folder(self, job: Job) -> bool:
        try:
            set_aside(self._home, job.sweep_id)
            delete_aside(self._home, job.sweep_id)
        except OSError as error:
            _log.warning("the folder of %s cannot be deleted: %s", job.sweep_id, error)
            return False
        return True

    def _delete_runs(self, sweep_ids: Sequence[str]) -> None:
        if not sweep_ids or self._clock() < self._mlflow_pause_until:
            return
        removed = self._remove_runs(sweep_ids)
        self._without_runs |= frozenset(removed)
        if not set(sweep_ids) <= self._without_runs:
            self._mlflow_pause_until = self._clock() + _MLFLOW_PAUSE

    def _is_announced(self, job: Job) -> bool:
        late = self._clock() - job.changed > ANNOUNCE_PATIENCE
        return late or self._deletions.is_announced(job.sweep_id)

    def _drop_bundles(self) -> None:
        """Delete bundles without a sweep, and files that no bundle has."""
        before = self._clock() - BUNDLE_GRACE
        unused = self._deletions.delete_unused_bundles(before)
        for digest in unused:
            self._service.audit.record(_ACTOR, AuditAction.BUNDLE_DELETE, detail=digest)
        known, folder = self._deletions.list_bundles(), self._home.bundles
        for path in folder.iterdir() if folder.is_dir() else ():
            digest = path.name.removesuffix(".zip")
            if digest in unused or (digest not in known and _is_older(path, before)):
                _delete(path)


def _is_older(path: Path, before: float) -> bool:
    try:
        return path.lstat().st_mtime < before
    except OSError:
        return False


def _delete(path: Path) -> None:
    """Delete what users' code may have put there; no link is followed."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s cannot be deleted: %s", path, error)
