"""Which queued sweeps start now: a pure decision over the queued and the active sweeps.

The user with the smallest share of the cluster comes first; a user's own sweeps are ordered by
priority, then by age. A queued sweep's priority grows by 1 every :data:`AGING` seconds, so that it
cannot starve, and a sweep that its user's limits hold back does not hold back other users'.

A decision takes O(n log n) for n queued sweeps, and looks at the demands of those only that it
starts or holds back.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from service.base.amount import Amount
from service.server.shares import Demand

AGING = 600.0
"""Seconds in the queue that raise the priority by 1."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued sweep; ``since`` is Unix seconds, ``after`` are the sweeps that it waits for."""

    sweep_id: str
    owner: str
    since: float
    priority: int = 0
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class QueueLimits:
    """What may be in use at the same time; None is no limit.

    ``running`` limits the active sweeps of all users together. ``gpus_of`` overrides
    ``gpus_per_user`` by user name.
    """

    running: int = 4
    running_per_user: int | None = None
    gpus_per_user: float | None = None
    gpus_of: Mapping[str, float] = field(default_factory=dict)

    def gpus(self, owner: str) -> float | None:
        """The GPU limit of one user."""
        return self.gpus_of.get(owner, self.gpus_per_user)


def select_next(
    waiting: Sequence[Waiting],
    holding: Sequence[Demand],
    capacity: Amount,
    limits: QueueLimits,
    *,
    demand_of: Callable[[str], Demand],
    succeeded: Collection[str],
    used: Mapping[str, float],
    now: float,
) -> tuple[Demand, ...]:
    """The demands of the sweeps to start now, in order.

    One trial of each active sweep must fit on the cluster at the same time. ``demand_of`` gives the
    demand of a queued sweep by its id. ``succeeded`` are the ids of succeeded sweeps that others
    depend on. ``used`` is each user's recent usage: it decides between users with equal shares, so
    that shares become equal over time. Nothing starts on a cluster without CPUs: its nodes have
    not joined yet, and a driver could only say that no trial fits.
    """
    if not capacity.cpus:
        return ()
    cluster = _Cluster(holding, capacity, limits)
    queues = _order_by_user(waiting, succeeded, now)
    turns = [(cluster.shares[owner], used.get(owner, 0.0), owner) for owner in queues]
    heapq.heapify(turns)
    chosen: list[Demand] = []
    while turns and cluster.active < limits.running:
        _, usage, owner = heapq.heappop(turns)
        if not cluster.has_place(owner):
            continue
        first = demand_of(queues[owner][-1].sweep_id)
        if not cluster.allows(first):
            continue
        if not cluster.fits(first):
            break
        cluster.add(first)
        chosen.append(first)
        queues[owner].pop()
        if queues[owner]:
            heapq.heappush(turns, (cluster.shares[owner], usage, owner))
    return tuple(chosen)


def _order_by_user(
    waiting: Sequence[Waiting], succeeded: Collection[str], now: float
) -> Mapping[str, list[Waiting]]:
    """Each user's sweeps that wait for no other one, the most urgent one last."""
    queues: defaultdict[str, list[Waiting]] = defaultdict(list)
    for sweep in waiting:
        if all(other in succeeded for other in sweep.after):
            queues[sweep.owner].append(sweep)
    for own in queues.values():
        own.sort(key=lambda sweep: _compute_urgency(sweep, now))
    return queues


def _compute_urgency(sweep: Waiting, now: float) -> tuple[float, float, str]:
    return (sweep.priority + (now - sweep.since) / AGING, -sweep.since, sweep.sweep_id)


class _Cluster:
    """What the active sweeps hold: ``shares`` and sums by user, and one trial of each together."""

    def __init__(self, holding: Sequence[Demand], capacity: Amount, limits: QueueLimits) -> None:
        self._capacity, self._limits = capacity, limits
        self._trials = Amount()
        self._count: defaultdict[str, int] = defaultdict(int)
        self._gpus: defaultdict[str, float] = defaultdict(float)
        self.active = 0
        self.shares: defaultdict[str, float] = defaultdict(float)
        for demand in holding:
            self.add(demand)

    def add(self, demand: Demand) -> None:
        """Count a sweep; a trial that is larger than the whole cluster takes no room."""
        self.active += 1
        self._count[demand.owner] += 1
        self._gpus[demand.owner] += demand.trial.gpus
        self.shares[demand.owner] += demand.trial.dominant_share(self._capacity)
        if demand.trial.fits(self._capacity):
            self._trials += demand.trial

    def has_place(self, owner: str) -> bool:
        """Whether one more sweep is within its user's limit of active ones."""
        most = self._limits.running_per_user
        return most is None or self._count[owner] < most

    def allows(self, demand: Demand) -> bool:
        """Whether a sweep is within its user's limit of GPUs."""
        most = self._limits.gpus(demand.owner)
        return most is None or self._gpus[demand.owner] + demand.trial.gpus <= most + 1e-9

    def fits(self, demand: Demand) -> bool:
        """Whether one trial of each active sweep and of this one run at the same time."""
        if not demand.trial.fits(self._capacity):
            return self._trials.fits(self._capacity)
        return (self._trials + demand.trial).fits(self._capacity)
