"""How the sweeps on a cluster share it: the number of concurrent trials of each. Pure.

Every sweep gets one trial; the rest is given out one trial at a time, to the user with the smallest
dominant share, and of that user's sweeps to the one with the smallest share (dominant resource
fairness, Ghodsi et al. 2011, NSDI, algorithm 1, over indivisible trials).
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.base.amount import Amount

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Demand:
    """What a sweep would use: the amount of one trial, and at most how many concurrent trials."""

    sweep_id: str
    owner: str
    trial: Amount
    trials: int


def share(
    demands: Sequence[Demand], capacity: Amount, gpu_limits: Mapping[str, float | None]
) -> Mapping[str, int]:
    """The number of concurrent trials of each sweep. ``gpu_limits`` bound each user's GPUs.

    A trial that is larger than the whole cluster counts as nothing: its driver reports the error.
    """
    given = {d.sweep_id: 1 for d in demands}
    while True:
        held = _sum_by_owner(demands, given, capacity)
        total = _sum(held.values())
        able = [
            d
            for d in demands
            if given[d.sweep_id] < d.trials
            and d.trial.fits(capacity)
            and (total + d.trial).fits(capacity)
            and _is_within(held[d.owner] + d.trial, gpu_limits.get(d.owner))
        ]
        if not able:
            return given
        able.sort(
            key=lambda d: (
                held[d.owner].dominant_share(capacity),
                (d.trial * given[d.sweep_id]).dominant_share(capacity),
                d.sweep_id,
            )
        )
        given[able[0].sweep_id] += 1


def fit_together(demands: Sequence[Demand], capacity: Amount) -> bool:
    """Whether the cluster can run one trial of each at the same time."""
    held = [d.trial for d in demands if d.trial.fits(capacity)]
    return _sum(held).fits(capacity)


def _sum_by_owner(
    demands: Sequence[Demand], given: Mapping[str, int], capacity: Amount
) -> Mapping[str, Amount]:
    held: defaultdict[str, Amount] = defaultdict(Amount)
    for d in demands:
        if d.trial.fits(capacity):
            held[d.owner] += d.trial * given[d.sweep_id]
        else:
            held[d.owner] += Amount()
    return held


def _is_within(amount: Amount, gpu_limit: float | None) -> bool:
    return gpu_limit is None or amount.gpus <= gpu_limit + _ROUNDING


def _sum(amounts: Iterable[Amount]) -> Amount:
    return functools.reduce(Amount.__add__, amounts, Amount())
