"""Which trials of a search are the strongly regularised ones: pure functions of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from search_spaces.values import Value
from service.study.records import Trial
from service.study.strength import list_strengths, rank_strengths


def find_strong(trials: Sequence[Trial], neutral: Mapping[str, Value]) -> frozenset[int]:
    """The numbers of the half of the trials that is more strongly regularised.

    The strength of a trial is that of :func:`service.study.strength.rank_strengths`, and
    ``neutral`` is what it takes.
    """
    return _take_upper_half(
        rank_strengths({t.number: list_strengths(t.params, neutral) for t in trials})
    )


def _take_upper_half(strengths: Mapping[int, float]) -> frozenset[int]:
    """Those above the median; with those at it where that is nearer to a half."""
    middle = median(strengths.values()) if strengths else 0.0
    above = frozenset(n for n, strength in strengths.items() if strength > middle)
    from_it_on = frozenset(n for n, strength in strengths.items() if strength >= middle)
    half = len(strengths) / 2
    return min((above, from_it_on), key=lambda found: abs(len(found) - half))
