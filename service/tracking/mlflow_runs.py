"""Logs sweeps to MLflow: a parent run per sweep and a child run per trial, written in batches.

MLflow is for viewing; no sweep depends on it. The study and the history contain everything that is
logged here, with its time, so that a failed write is repeated later, and a repeated write logs the
same points. What MLflow refuses is skipped, item by item, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import mlflow

from service.base.uris import find_sqlite_path
from service.sweep.lost_items import Losses, describe_error
from service.sweep.sweep_record import Sweep
from service.tracking.found_runs import FoundRuns
from service.tracking.new_database import create_database
from service.tracking.outbox import TrialUpdate
from service.tracking.refusals import NotOpenError, is_away
from service.tracking.tracked_sweep import TrackedSweep, choose_batch


class SweepRuns:
    """The runs of one sweep in MLflow. Blocking; for one thread only.

    It raises MLflow's errors while MLflow is away; ``losses`` are the items that it refused.
    """

    def __init__(
        self,
        uri: str,
        artifacts: str | None,
        sweep: TrackedSweep,
        *,
        lock: AbstractContextManager[object] | None = None,
        reopens: bool = True,
    ) -> None:
        """Several processes that log one sweep share a ``lock``: each looks up the others' runs.

        Without ``reopens`` the parent is left as it is: another process may have ended it.
        """
        self._uri, self._artifacts, self._sweep = uri, artifacts, sweep
        self._lock, self._shared = lock or nullcontext(), lock is not None
        self._reopened = not reopens
        self._runs: FoundRuns | None = None
        self.losses = Losses()

    @property
    def batch(self) -> int:
        """How many trials one call takes."""
        return choose_batch(self._uri)

    def is_away(self, error: Exception) -> bool:
        """Whether an error says that MLflow cannot be used for now; any other error refuses."""
        return is_away(error)

    def open(self) -> FoundRuns:
        """Find or create the experiment and the parent run, and find existing child runs.

        After an error everything is looked up again: the server may have executed a request whose
        response was lost, and a run would be created twice.

        Raises:
            NotOpenError: one of them can neither be found nor created.
        """
        if self._runs is None:
            try:
                create_database(self._uri)  # which takes long
                client = mlflow.MlflowClient(self._uri)
                path = find_sqlite_path(self._uri)
                self._runs = FoundRuns(client, self._artifacts, self._sweep, self.losses, path)
            except Exception as error:
                raise NotOpenError(describe_error(error)) from error
        return self._runs

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Log updates; logging one again writes the same points."""
        with self._opened() as runs:
            if not self._reopened:  # an earlier session has ended it
                runs.reopen()
                self._reopened = True
            runs.log(updates)

    def finish(
        self, sweep: Sweep, verdict: str, artifacts: Sequence[Path], model: Path | None
    ) -> None:
        """End all runs, the parent with its headline figures and artifacts; add the best model.

        The verdict becomes the parent's description. Runs are ended before files are uploaded,
        because a store of artifacts can be away while MLflow is not.
        """
        with self._opened() as runs:
            runs.log_figures(sweep, verdict)
            runs.end(sweep)
            runs.log_files(sweep, artifacts, model)

    def close(self) -> None:
        """End all runs that are open: the sweep's session ended by an error."""
        with self._opened() as runs:
            runs.kill()

    @contextmanager
    def _opened(self) -> Iterator[FoundRuns]:
        """The runs, which are looked up again after an error, or if others write them, too."""
        try:
            with self._lock:
                if self._shared:
                    self._runs = None
                yield self.open()
        except Exception:
            self._runs = None
            raise
