"""Which queued sweeps start now: a pure decision over what waits and what runs.

Between users the one with the smallest share of the cluster goes first; a user's own sweeps go by
priority, then by age. A sweep that waits gains a priority every :data:`AGING` seconds, so that no
stream of more urgent ones holds it up for ever, and a sweep that does not fit holds up nobody but
its own user.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

AGING = 600.0
"""Seconds of waiting that count as much as one priority."""


@dataclass(frozen=True)
class Waiting:
    """A queued sweep. ``slots`` and ``gpus`` are what it would hold; ``since`` is Unix seconds."""

    sweep_id: str
    owner: str
    since: float
    priority: int = 0
    slots: float = 1.0
    gpus: float = 0.0
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Holding:
    """A sweep that is on the cluster, with what it holds."""

    sweep_id: str
    owner: str
    slots: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class Limits:
    """How much may be held at once; None is no limit.

    ``gpus_of`` bounds a user's GPUs where it differs from ``gpus_per_user``. ``running`` bounds
    the sweeps of all users together.
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
    holding: Sequence[Holding],
    limits: Limits,
    *,
    succeeded: Collection[str],
    used: Mapping[str, float],
    now: float,
) -> tuple[str, ...]:
    """Ids of the sweeps to start now, in order.

    ``succeeded`` are the sweeps that others wait for and that are done. ``used`` is what each user
    has had so far in slot-seconds: it decides between users who hold equally much, so that
    shares come out equal over time.
    """
    held = list(holding)
    ready = [w for w in waiting if all(other in succeeded for other in w.after)]
    chosen: list[str] = []
    while ready and len(held) < limits.running:
        turn = next(_in_turn(ready, held, limits, used, now), None)
        if turn is None:
            break
        ready.remove(turn)
        chosen.append(turn.sweep_id)
        held.append(Holding(turn.sweep_id, turn.owner, turn.slots, turn.gpus))
    return tuple(chosen)


def _in_turn(
    ready: Sequence[Waiting],
    held: Sequence[Holding],
    limits: Limits,
    used: Mapping[str, float],
    now: float,
) -> Iterator[Waiting]:
    """Each user's most urgent sweep, if the user's limits allow it, the neediest user's first."""
    slots: defaultdict[str, float] = defaultdict(float)
    for h in held:
        slots[h.owner] += h.slots
    owners = sorted({w.owner for w in ready}, key=lambda o: (slots[o], used.get(o, 0.0), o))
    for owner in owners:
        own = [w for w in ready if w.owner == owner]
        first = max(own, key=lambda w: (w.priority + (now - w.since) / AGING, -w.since, w.sweep_id))
        if _allowed(first, [h for h in held if h.owner == owner], limits):
            yield first


def _allowed(sweep: Waiting, own: Sequence[Holding], limits: Limits) -> bool:
    """Whether one more sweep stays within its user's limits."""
    if limits.running_per_user is not None and len(own) >= limits.running_per_user:
        return False
    most = limits.gpus(sweep.owner)
    return most is None or sum(h.gpus for h in own) + sweep.gpus <= most + 1e-9
