"""How strongly a configuration is regularised, in numbers that need no unit: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from search_spaces.values import Value, is_same
from service.study.records import Params
from trainables.config.regularisers import MaxNorm, RegulariserConfig, read_regularisers

Strengths = Mapping[str, float]
"""What regularises a configuration: its values, each under the name of what it is compared with."""


def list_strengths(params: Params, neutral: Mapping[str, Value]) -> Strengths:
    """What is ranked of a configuration; empty where nothing regularises it.

    ``neutral`` has the arguments of the trainable that regularise, with their values without it;
    they count by the distance from that. What has no number (a regulariser of the user's own,
    without an option that is known to be one) counts nothing.
    """
    return dict(_list_values(params, neutral))


def rank_strengths(found: Mapping[int, Strengths]) -> dict[int, float]:
    """The strength of each configuration among all of them: a sum over its regularisers.

    For each, it is the rank of its value among the configurations that have the same one, between 0
    and 1. So it needs no unit, and no range: a λ counts among those of the same penalty.
    """
    numbers: dict[str, list[int]] = {}
    values: dict[str, list[float]] = {}
    for number, strengths in found.items():
        for name, value in strengths.items():
            numbers.setdefault(name, []).append(number)
            values.setdefault(name, []).append(value)
    ranked = dict.fromkeys(found, 0.0)
    for name, column in values.items():
        for number, rank in zip(numbers[name], rank_shares(column), strict=True):
            ranked[number] += rank
    return ranked


def rank_shares(values: Sequence[float]) -> list[float]:
    """The mid-rank of each value among all of them, as a share of their number."""
    column = np.asarray(values, dtype=float)
    ordered = np.sort(column)
    below, up_to = (np.searchsorted(ordered, column, side) for side in ("left", "right"))
    shares: list[float] = ((below + up_to) / 2 / max(1, len(column))).tolist()
    return shares


def _list_values(params: Params, neutral: Mapping[str, Value]) -> Iterator[tuple[str, float]]:
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
