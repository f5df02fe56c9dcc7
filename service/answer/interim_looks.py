"""When the pick is compared with the control, how much α each look spends, and what it decides.

A sweep has one one-sided α for all its claims. A family, a pick with the finalists it was chosen
from, is given what earlier families left; each of its looks spends a fifth of that. The four looks
of a family leave a fifth, for one more look or for a family that ``extend`` brings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from service.answer.effects import Effect, estimate
from service.spec.sections import LOOKS

ALPHA = 0.025
_SHARE_OF_A_LOOK = 1 / (len(LOOKS) + 1)
_MOST_REPLICATES = 1_000_000


class Decision(Enum):
    """What a look says of the pick."""

    HELPS = "helps"
    NOT_SHOWN = "not_shown"
    CONTINUE = "continue"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Spending:
    """The α that one look of a family spent; stored with the sweep."""

    family: str
    replicates: int
    alpha: float


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the pick against the control, and the effect behind the decision.

    ``interval`` is two-sided at the level 1 - 2 α, so that it excludes 0 on the better side
    exactly if ``p < alpha``. Effects better than ``excluded_above`` (a size, at least 0) are
    excluded by it; None where it excludes nothing.
    """

    decision: Decision
    effect: Effect
    alpha: float
    p: float | None
    interval: tuple[float, float]
    excluded_above: float | None


class Limit(Enum):
    """What keeps a question open."""

    REPLICATES = "replicates"
    ROWS = "rows"


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What could decide an open question, were the effect and its spread what they are now.

    ``more_replicates`` is None where the test rows are the limit; ``rows`` then says how many of
    them many replicates would need, None where the effect equals a limit and nothing would do.
    """

    limit: Limit
    more_replicates: int | None
    rows: int | None


def spend(spent: Sequence[Spending], family: str, replicates: int) -> Spending:
    """The look of ``family`` at so many replicates: the stored one, or a new one to be stored.

    Raises nothing when α is used up: the new look then has α 0 and cannot claim anything.
    """
    for look in spent:
        if (look.family, look.replicates) == (family, replicates):
            return look
    families = [look.family for look in spent]
    before = spent[: families.index(family)] if family in families else spent
    given = max(ALPHA - math.fsum(look.alpha for look in before), 0.0)
    left = max(ALPHA - math.fsum(look.alpha for look in spent), 0.0)
    return Spending(family=family, replicates=replicates, alpha=min(given * _SHARE_OF_A_LOOK, left))


def decide(
    differences: NDArray[np.float64],
    *,
    alpha: float,
    min_effect: float,
    last: bool,
    overlap: float = 0.0,
) -> Look:
    """One look at the table of differences "pick minus control", shape (replicates, rows).

    NOT_SHOWN goes first: where effects better than ``min_effect`` are excluded, the pick does not
    matter, be it certainly a little better or not. HELPS needs ``p < alpha``. Differences without
    spread decide nothing, unless all are 0: then the two arms are one.
    """
    effect = estimate(differences, overlap=overlap)
    low, high = effect.interval(1 - 2 * alpha)
    p = effect.p_better()
    if not np.any(differences) or (p is not None and low > -min_effect):
        decision = Decision.NOT_SHOWN
    elif p is not None and p < alpha:
        decision = Decision.HELPS
    else:
        decision = Decision.UNDECIDED if last else Decision.CONTINUE
    return Look(
        decision=decision,
        effect=effect,
        alpha=alpha,
        p=p,
        interval=(low, high),
        excluded_above=max(-low, 0.0) if math.isfinite(low) else None,
    )


def replicates_needed(effect: Effect, alpha: float, min_effect: float) -> Needed:
    """How many more replicates could decide, at a look with this α, or which rows it takes.

    Could decide: the effect's distance from 0, or from -``min_effect`` on the other side, would
    exceed the half width of the interval. Where infinitely many replicates would not do, the test
    rows are the limit.
    """
    distance = max(-effect.mean, effect.mean + min_effect)
    if distance <= 0 or alpha <= 0 or not effect.se:
        return Needed(limit=Limit.ROWS, more_replicates=None, rows=None)
    if (at_best := effect.half_width(alpha, replicates=math.inf)) >= distance:
        rows = math.floor(effect.rows * (at_best / distance) ** 2) + 1
        return Needed(limit=Limit.ROWS, more_replicates=None, rows=rows)
    low, high = effect.replicates, _MOST_REPLICATES
    while high - low > 1:
        middle = (low + high) // 2
        decides = effect.half_width(alpha, replicates=middle) < distance
        low, high = (low, middle) if decides else (middle, high)
    return Needed(limit=Limit.REPLICATES, more_replicates=high - effect.replicates, rows=None)
