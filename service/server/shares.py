"""How the sweeps on a cluster share it: so many trials at once for each.

Every sweep gets one trial; what is left goes, a trial at a time, to the user whose dominant share
is the smallest, and of that user's sweeps to the one with the smallest (dominant resource
fairness, Ghodsi et al. 2011, NSDI, algorithm 1, over indivisible trials).
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.base.amounts import Amount

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Demand:
    """What a sweep would use: one trial's amount, and how many trials at most at once."""

    sweep_id: str
    owner: str
    trial: Amount
    trials: int


def share(
    demands: Sequence[Demand], capacity: Amount, gpus_of: Mapping[str, float | None]
) -> Mapping[str, int]:
    """How many trials each sweep may run at once. ``gpus_of`` bounds a user's GPUs, None does not.

    A trial that the whole cluster could not hold counts as nothing: its driver will say so.
    """
    given = {d.sweep_id: 1 for d in demands}
    while True:
        held = _held(demands, given, capacity)
        total = _sum(held.values())
        able = [
            d
            for d in demands
            if given[d.sweep_id] < d.trials
            and d.trial.fits(capacity)
            and (total + d.trial).fits(capacity)
            and _within(held[d.owner] + d.trial, gpus_of.get(d.owner))
        ]
        if not able:
            return given
        able.sort(
            key=lambda d: (
                held[d.owner].share(capacity),
                d.trial.times(given[d.sweep_id]).share(capacity),
                d.sweep_id,
            )
        )
        given[able[0].sweep_id] += 1


def together(demands: Sequence[Demand], capacity: Amount) -> bool:
    """Whether the cluster can hold one trial of each."""
    held = [d.trial for d in demands if d.trial.fits(capacity)]
    return _sum(held).fits(capacity)


def _held(
    demands: Sequence[Demand], given: Mapping[str, int], capacity: Amount
) -> Mapping[str, Amount]:
    held: defaultdict[str, Amount] = defaultdict(Amount)
    for d in demands:
        if d.trial.fits(capacity):
            held[d.owner] += d.trial.times(given[d.sweep_id])
        else:
            held[d.owner] += Amount()
    return held


def _within(amount: Amount, gpus: float | None) -> bool:
    return gpus is None or amount.gpus <= gpus + _ROUNDING


def _sum(amounts: Iterable[Amount]) -> Amount:
    return functools.reduce(Amount.__add__, amounts, Amount())
