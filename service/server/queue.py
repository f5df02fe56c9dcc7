"""Which queued sweeps start now: a pure decision over what waits and what runs.

Between users the one with the smallest share of the cluster goes first; a user's own sweeps go by
priority, then by age. A sweep that waits gains a priority every :data:`AGING` seconds, so that no
stream of more urgent ones holds it up for ever, and a sweep that its user's limits hold up holds up
nobody else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from service.base.amounts import Amount
from service.server.shares import Demand, together

AGING = 600.0
"""Seconds of waiting that count as much as one priority."""


@dataclass(frozen=True)
class Waiting:
    """A queued sweep and what it would use; ``since`` is Unix seconds."""

    demand: Demand
    since: float
    priority: int = 0
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """How much may be held at once; None is no limit.

    ``running`` bounds the sweeps of all users together. ``gpus_of`` bounds a user's GPUs where it
    differs from ``gpus_per_user``.
    """

    running: int = 4
    running_per_user: int | None = None
    gpus_per_user: float | None = None
    gpus_of: Mapping[str, float] = field(default_factory=dict)

    def gpus(self, owner: str) -> float | None:
        """One user's."""
        return self.gpus_of.get(owner, self.gpus_per_user)


def next_to_start(
    waiting: Sequence[Waiting],
    holding: Sequence[Demand],
    capacity: Amount,
    limits: Limits,
    *,
    succeeded: Collection[str],
    used: Mapping[str, float],
    now: float,
) -> tuple[str, ...]:
    """Ids of the sweeps to start now, in order.

    Of every sweep on the cluster one trial must fit beside the others'. ``succeeded`` are the
    sweeps that others wait for and that are done. ``used`` is what each user has had lately: it
    decides between users who hold equally much, so that shares come out equal over time.
    """
    held = list(holding)
    ready = [w for w in waiting if all(other in succeeded for other in w.after)]
    chosen: list[str] = []
    while ready and len(held) < limits.running:
        turn = next(_in_turn(ready, held, capacity, limits, used, now), None)
        if turn is None or not together([*held, turn.demand], capacity):
            break
        ready.remove(turn)
        chosen.append(turn.demand.sweep_id)
        held.append(turn.demand)
    return tuple(chosen)


def _in_turn(
    ready: Sequence[Waiting],
    held: Sequence[Demand],
    capacity: Amount,
    limits: Limits,
    used: Mapping[str, float],
    now: float,
) -> Iterator[Waiting]:
    """Each user's most urgent sweep, if the user's limits allow it, the neediest user's first."""
    shares: defaultdict[str, float] = defaultdict(float)
    for demand in held:
        shares[demand.owner] += demand.trial.share(capacity)
    owners = {w.demand.owner for w in ready}
    for owner in sorted(owners, key=lambda o: (shares[o], used.get(o, 0.0), o)):
        own = [w for w in ready if w.demand.owner == owner]
        first = max(own, key=lambda w: _urgency(w, now))
        if _allowed(first.demand, [h for h in held if h.owner == owner], limits):
            yield first


def _urgency(sweep: Waiting, now: float) -> tuple[float, float, str]:
    return (
        sweep.priority + (now - sweep.since) / AGING,
        -sweep.since,
        sweep.demand.sweep_id,
    )


def _allowed(demand: Demand, own: Sequence[Demand], limits: Limits) -> bool:
    """Whether one more sweep stays within its user's limits."""
    if limits.running_per_user is not None and len(own) >= limits.running_per_user:
        return False
    most = limits.gpus(demand.owner)
    return most is None or sum(h.trial.gpus for h in own) + demand.trial.gpus <= most + 1e-9
