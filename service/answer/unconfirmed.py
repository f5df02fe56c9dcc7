"""The answer of a sweep that nothing was replicated of. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

from service.study.ranking import Ranking, list_challengers
from service.study.records import Trial
from service.sweep.answer import Answer, Claim

LEVEL = 0.95


def leave_unconfirmed(
    ranking: Ranking, trials: Sequence[Trial], error: float | None, reason: str
) -> Answer:
    """The search's best against the control, one training each.

    ``error`` is the standard error of their difference by the validation samples, if known.
    """
    challengers = sorted(list_challengers(trials), key=ranking.key)
    control = ranking.find_control(trials)
    best = challengers[0] if challengers else None
    effect = interval = None
    if best is not None and control is not None:
        effect = ranking.sign * (ranking.cost(best) - ranking.cost(control))
        if error is not None:
            half = error * NormalDist().inv_cdf((1 + LEVEL) / 2)
            interval = (effect - half, effect + half)
    return Answer(
        claim=Claim.UNCONFIRMED,
        metric=ranking.metric,
        mode=ranking.mode,
        pick=None if best is None else best.number,
        control=None if control is None else control.number,
        effect=effect,
        interval=interval,
        level=None if interval is None else LEVEL,
        on="one_split",
        feasible=best is None or not best.violation,
        compared=len(challengers),
        reason=reason,
    )
