"""How the sweeps on a cluster share it: the number of concurrent trials of each. Pure.

Every sweep gets one trial; the rest is given out one trial at a time, to the user with the smallest
dominant share, and of that user's sweeps to the one with the smallest share (dominant resource
fairness, Ghodsi et al. 2011, NSDI, algorithm 1, over indivisible trials). Trials that are small
beside the cluster are given out many at a time, so that the work does not grow with their number.
"""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.base.amount import Amount

_ROUNDING = 1e-9
_PORTION = 1 / 512
"""The share of the cluster that a sweep of smaller trials gets at a time."""


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
    return _Sharing(demands, capacity, gpu_limits).run()


class _Sharing:
    """One division of a cluster: what each sweep has, and how many trials it gets at a time."""

    def __init__(
        self,
        demands: Sequence[Demand],
        capacity: Amount,
        gpu_limits: Mapping[str, float | None],
    ) -> None:
        self._capacity, self._gpu_limits = capacity, gpu_limits
        self._given = {d.sweep_id: 1 for d in demands}
        fitting = [d for d in demands if d.trial.fits(capacity)]
        self._held: defaultdict[str, Amount] = defaultdict(Amount)
        for d in fitting:
            self._held[d.owner] += d.trial
        self._portions = {d.sweep_id: _count_portion(d, capacity) for d in fitting if d.trials > 1}
        self._able = [d for d in fitting if d.trials > 1]

    def run(self) -> Mapping[str, int]:
        """Give out trials until no sweep can get more."""
        while self._able:
            first = min(self._able, key=self._rank)
            self._give(first)
        return self._given

    def _rank(self, d: Demand) -> tuple[float, float, str]:
        own = d.trial * self._given[d.sweep_id]
        return (
            self._held[d.owner].dominant_share(self._capacity),
            own.dominant_share(self._capacity),
            d.sweep_id,
        )

    def _give(self, d: Demand) -> None:
        """Give a sweep its portion; if that is too much, halve the portion, at last to nothing."""
        count = min(self._portions[d.sweep_id], d.trials - self._given[d.sweep_id])
        more = d.trial * count
        if count and self._has_room(d.owner, more):
            self._given[d.sweep_id] += count
            self._held[d.owner] += more
        elif count > 1:
            self._portions[d.sweep_id] = count // 2
        else:
            self._able.remove(d)

    def _has_room(self, owner: str, more: Amount) -> bool:
        total = _sum(self._held.values()) + more
        return total.fits(self._capacity) and _is_within(
            self._held[owner] + more, self._gpu_limits.get(owner)
        )


def _count_portion(d: Demand, capacity: Amount) -> int:
    """How many trials a sweep gets at a time: 1, or as many as :data:`_PORTION` holds."""
    one = max(d.trial.dominant_share(capacity), sys.float_info.min)
    return max(1, int(min(_PORTION / one, d.trials)))


def _is_within(amount: Amount, gpu_limit: float | None) -> bool:
    return gpu_limit is None or amount.gpus <= gpu_limit + _ROUNDING


def _sum(amounts: Iterable[Amount]) -> Amount:
    return functools.reduce(Amount.__add__, amounts, Amount())
