"""How strongly the trials of a search are regularised, by ranks: pure functions of records."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from search_spaces.values import Value, is_same
from service.study.records import Params, Trial
from trainables.config.regularisers import MaxNorm, RegulariserConfig, read_regularisers


def find_strong(trials: Sequence[Trial], neutral: Mapping[str, Value]) -> frozenset[int]:
    """The numbers of the half of the trials that is more strongly regularised.

    The strength of a trial is a sum over its regularisers: for each, the rank of its value among
    the trials that have the same one, between 0 and 1. So it needs no unit, and no range: a λ
    counts among those of the same penalty. What has no number (a regulariser of the user's own,
    without an option that is known to be one) counts nothing. ``neutral`` has the arguments of the
    trainable that regularise, with their values without it; they count by the distance from that.
    """
    values = {t.number: dict(_list_values(t.params, neutral)) for t in trials}
    by_name: dict[str, list[float]] = {}
    for found in values.values():
        for name, value in found.items():
            by_name.setdefault(name, []).append(value)
    for column in by_name.values():
        column.sort()
    strengths = {
        number: sum(_rank(value, by_name[name]) for name, value in found.items())
        for number, found in values.items()
    }
    return _take_upper_half(strengths)


def _take_upper_half(strengths: Mapping[int, float]) -> frozenset[int]:
    """Those above the median; with those at it where that is nearer to a half."""
    middle = median(strengths.values()) if strengths else 0.0
    above = frozenset(n for n, strength in strengths.items() if strength > middle)
    from_it_on = frozenset(n for n, strength in strengths.items() if strength >= middle)
    half = len(strengths) / 2
    return min((above, from_it_on), key=lambda found: abs(len(found) - half))


def _rank(value: float, column: Sequence[float]) -> float:
    """The mid-rank among sorted values, as a share of them."""
    below, up_to = bisect_left(column, value), bisect_right(column, value)
    return (below + up_to) / 2 / len(column)


def _list_values(params: Params, neutral: Mapping[str, Value]) -> Iterator[tuple[str, float]]:
    """What is ranked of a configuration, each under the name of what it is compared with."""
    for config in read_regularisers(params):
        if config != type(config).model_validate(config.neutral):
            yield from _list_values_of(config, params)
    for name, value in neutral.items():
        if name in params and not is_same(params[name], value):
            yield name, _measure_distance(params[name], value)


def _list_values_of(config: RegulariserConfig, params: Params) -> Iterator[tuple[str, float]]:
    if config.selector:
        kind = f"{config.selector} {params[config.selector]}"
        keys: Sequence[str] = (config.strength,)
    else:
        kind, keys = "", config.names()
    sign = -1 if isinstance(config, MaxNorm) else 1  # a lower limit is a stronger one
    for key in keys:
        value = config.model_dump(by_alias=True)[key]
        if isinstance(value, int | float) and value:
            yield f"{kind} {key}", sign * float(value)


def _measure_distance(value: Value, neutral: Value) -> float:
    if isinstance(value, int | float) and isinstance(neutral, int | float):
        return abs(value - neutral)
    return 1.0
