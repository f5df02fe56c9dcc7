"""The queued sweeps as the queue's decision takes them; of each only what has changed is read."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence

from service.client.job_states import JobState
from service.server.job_demand import read_demand
from service.server.queue import Waiting
from service.server.shares import Demand
from service.server.store.job_records import QueuedSweep
from service.server.store.sweep_store import SweepStore

_RESTART_PRIORITY = 1000
"""Added to the priority of a sweep whose driver died: it comes first among its owner's."""


class QueuedSweeps:
    """Reads the queued sweeps of one store, round after round.

    A sweep is read in full when it enters the queue; after that a round reads its id only, and its
    spec when it may start.
    """

    def __init__(self, sweeps: SweepStore) -> None:
        self._sweeps = sweeps
        self._known: Mapping[tuple[str, float], Waiting] = {}
        self._demands: dict[str, Demand] = {}

    def read(self) -> Sequence[Waiting]:
        """The queued sweeps."""
        entries = self._sweeps.list_queued()
        new = [sweep_id for sweep_id, since in entries if (sweep_id, since) not in self._known]
        read = {(q.sweep_id, q.since): _to_waiting(q) for q in self._sweeps.find_queued(new)}
        known = {key: self._known.get(key) or read.get(key) for key in entries}
        self._known = {key: sweep for key, sweep in known.items() if sweep is not None}
        waiting = tuple(self._known.values())
        self._demands = {w.sweep_id: d for w in waiting if (d := self._demands.get(w.sweep_id))}
        return waiting

    def demand_of(self, sweep_id: str) -> Demand:
        """The demand of a queued sweep."""
        if sweep_id not in self._demands:
            self._demands[sweep_id] = read_demand(self._sweeps.get(sweep_id))
        return self._demands[sweep_id]

    def find_dependencies(
        self, waiting: Collection[Waiting], active: Mapping[str, JobState]
    ) -> Mapping[str, JobState]:
        """The states of the sweeps that queued ones wait for; those that do not exist lack."""
        known = {**active, **dict.fromkeys((w.sweep_id for w in waiting), JobState.QUEUED)}
        others = {other for w in waiting for other in w.after}
        return {**known, **self._sweeps.find_states(others - known.keys())}


def _to_waiting(queued: QueuedSweep) -> Waiting:
    """A sweep whose driver has worked before comes first, one that never started does not."""
    restarts = queued.failures > 0 and queued.last_heartbeat is not None
    return Waiting(
        sweep_id=queued.sweep_id,
        owner=queued.owner,
        since=queued.since,
        priority=queued.priority + (_RESTART_PRIORITY if restarts else 0),
        after=tuple(map(sys.intern, queued.after)),  # many wait for the same sweep
    )
