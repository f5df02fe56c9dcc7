"""Has the runs ended that sweeps left open in MLflow.

A driver ends its sweep's runs. It cannot if MLflow is away at the end, or if it is killed; and a
request of its that was delayed on its way may open a run again. So every sweep that has stopped is
looked at once more, until none of its runs is open.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from service.server.mlflow_tasks import RunTask
from service.server.store.sweep_store import SweepStore

GRACE = 30.0
"""Seconds after a sweep's stop for which its driver's requests may still be under way."""
HORIZON = 7 * 86_400.0
"""Seconds after a sweep's stop for which its runs are ended."""
_BATCH = 1_000


class RunCleanup:
    """The runs that sweeps of one service left open. ``end_runs`` takes words ``SWEEP=STATE``."""

    def __init__(
        self, sweeps: SweepStore, end_runs: RunTask, clock: Callable[[], float] = time.time
    ) -> None:
        self._sweeps, self._end_runs, self._clock = sweeps, end_runs, clock
        self._closed: frozenset[tuple[str, str, float]] = frozenset()

    def round(self) -> None:
        """End the runs of sweeps that have stopped since the round before, and what is left.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        now = self._clock()
        stopped = self._sweeps.list_stopped(now - HORIZON, now - GRACE)
        self._closed &= stopped
        left = sorted(stopped - self._closed, key=lambda found: found[2])[:_BATCH]
        if left:
            done = self._end_runs([f"{sweep_id}={state}" for sweep_id, state, _ in left])
            self._closed |= {found for found in left if found[0] in done}
