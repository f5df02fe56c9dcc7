"""Which queued sweeps start now: a pure decision over the queued and the active sweeps.

The user with the smallest share of the cluster comes first; a user's own sweeps are ordered by
priority, then by age. A queued sweep's priority grows by 1 every :data:`AGING` seconds, so that it
cannot starve, and a sweep that its user's limits hold back does not hold back other users'.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from service.base.amount import Amount
from service.server.shares import Demand, fit_together

AGING = 600.0
"""Seconds in the queue that raise the priority by 1."""


@dataclass(frozen=True)
class Waiting:
    """A queued sweep and its demand; ``since`` is Unix seconds."""

    demand: Demand
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
    succeeded: Collection[str],
    used: Mapping[str, float],
    now: float,
) -> tuple[str, ...]:
    """Ids of the sweeps to start now, in order.

    One trial of each active sweep must fit on the cluster at the same time. ``succeeded`` are the
    ids of succeeded sweeps that others depend on. ``used`` is each user's recent usage: it decides
    between users with equal shares, so that shares become equal over time.
    """
    held = list(holding)
    ready = [w for w in waiting if all(other in succeeded for other in w.after)]
    chosen: list[str] = []
    while ready and len(held) < limits.running:
        first = next(_order(ready, held, capacity, limits, used, now), None)
        if first is None or not fit_together([*held, first.demand], capacity):
            break
        ready.remove(first)
        chosen.append(first.demand.sweep_id)
        held.append(first.demand)
    return tuple(chosen)


def _order(
    ready: Sequence[Waiting],
    held: Sequence[Demand],
    capacity: Amount,
    limits: QueueLimits,
    used: Mapping[str, float],
    now: float,
) -> Iterator[Waiting]:
    """Each user's most urgent sweep that its limits allow, the user with the least share first."""
    shares: defaultdict[str, float] = defaultdict(float)
    for demand in held:
        shares[demand.owner] += demand.trial.dominant_share(capacity)
    owners = {w.demand.owner for w in ready}
    for owner in sorted(owners, key=lambda o: (shares[o], used.get(o, 0.0), o)):
        own = [w for w in ready if w.demand.owner == owner]
        first = max(own, key=lambda w: _compute_urgency(w, now))
        if _is_allowed(first.demand, [h for h in held if h.owner == owner], limits):
            yield first


def _compute_urgency(sweep: Waiting, now: float) -> tuple[float, float, str]:
    return (
        sweep.priority + (now - sweep.since) / AGING,
        -sweep.since,
        sweep.demand.sweep_id,
    )


def _is_allowed(demand: Demand, own: Sequence[Demand], limits: QueueLimits) -> bool:
    """Whether one more sweep is within its user's limits."""
    if limits.running_per_user is not None and len(own) >= limits.running_per_user:
        return False
    most = limits.gpus(demand.owner)
    return most is None or sum(h.trial.gpus for h in own) + demand.trial.gpus <= most + 1e-9
