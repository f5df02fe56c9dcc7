"""The runs of a sweep in MLflow, which is imported by the thread that writes them.

MLflow takes a second to import and more to create its tables: the first trial waits for neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from service.sweep.lost_items import Losses
from service.sweep.sweep_record import Sweep
from service.tracking.outbox import TrialUpdate
from service.tracking.tracked_sweep import TrackedSweep, choose_batch

if TYPE_CHECKING:
    from service.tracking.mlflow_runs import SweepRuns


class LateRuns:
    """Runs as :class:`service.tracking.mlflow_runs.SweepRuns` that are made when first used.

    An MLflow that cannot be imported is away, as one that does not answer.
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
        """The arguments are those of the runs."""
        self._uri, self._artifacts, self._sweep = uri, artifacts, sweep
        self._lock, self._reopens = lock, reopens
        self._made: SweepRuns | None = None

    @property
    def batch(self) -> int:
        """How many trials one call takes."""
        return choose_batch(self._uri)

    @property
    def losses(self) -> Losses:
        """What MLflow has refused."""
        return Losses() if self._made is None else self._made.losses

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Log updates; logging one again writes the same points."""
        self._make().write(updates)

    def is_away(self, error: Exception) -> bool:
        """Whether an error says that MLflow cannot be used for now; any other error refuses."""
        return self._made is None or self._made.is_away(error)

    def finish(
        self, sweep: Sweep, verdict: str, artifacts: Sequence[Path], model: Path | None
    ) -> None:
        """End all runs, with the sweep's figures and files."""
        self._make().finish(sweep, verdict, artifacts, model)

    def close(self) -> None:
        """End all runs that are open: the sweep's session ended by an error."""
        self._make().close()

    def _make(self) -> SweepRuns:
        if self._made is None:
            from service.tracking.mlflow_runs import SweepRuns

            self._made = SweepRuns(
                self._uri,
                self._artifacts,
                self._sweep,
                lock=self._lock,
                reopens=self._reopens,
            )
        return self._made
