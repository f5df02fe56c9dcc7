"""Best values at the edge of their ranges: better ones may lie beyond, where nothing was tried."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import Literal

from search_spaces.dimensions import Dimension
from search_spaces.kinds import Auto, Float, Int
from search_spaces.models import Frozen
from search_spaces.space import SearchSpace
from search_spaces.values import Value
from service.base.json_numbers import Number
from service.spec.model import SweepSpec
from service.spec.widened import write_range
from service.study.records import Role
from service.sweep.sweep_record import Sweep
from trainables.config.trial_parameters import check_value, find_part, list_parts

SHARE = 0.1
"""The share of a range, of its logarithm where it is sampled so, that counts as its edge."""
_DECADE = 10.0
_TRIES = 5


class Edge(Frozen):
    """A parameter whose best value is at an edge of its range, and a range that is wider there.

    ``dimension`` is its name in the study, which has one for each of several ranges. ``computed``
    is a range of `auto`; at the lower end of one a strength hardly acts, and nothing is ``wider``.
    """

    parameter: str
    dimension: str
    value: Number
    low: Number
    high: Number
    end: Literal["low", "high"]
    wider: tuple[Number, Number] | None
    computed: bool = False


class EdgeWarning(Frozen):
    """The edges of a sweep's pick, and the commands that go on with wider ranges, if that helps."""

    trial: int
    edges: tuple[Edge, ...]
    resume: str | None = None
    extend: str | None = None


def find_edges(sweep: Sweep) -> EdgeWarning | None:
    """The parameters that acted in the pick, with a value at an edge that can be moved.

    A bound that no training can pass, as dropout 0, is no such edge.
    """
    best, spec = sweep.best, sweep.spec
    if spec is None or best is None or best.role is Role.BASELINE:
        return None
    without = () if sweep.answer is None else sweep.answer.without
    idle = {*best.not_acting, *without}
    acting = set(list_parts(spec, best.params)) - idle
    edges: list[Edge] = []
    for dimension in spec.space.find_dimensions(best.params):
        part = find_part(spec, dimension.name)
        if dimension.name in best.params and (part is None or part in acting):
            computed = _is_computed(sweep.declared, dimension)
            edges += _find_edge(spec, dimension, best.params[dimension.name], computed)
    if not edges:
        return None
    ranges = [shlex.quote(write_range(e.dimension, *e.wider)) for e in edges if e.wider]
    if not ranges:
        return EdgeWarning(trial=best.number, edges=tuple(edges))
    trials = max(10, spec.budget.trials // 2)
    words = " ".join([sweep.sweep_id, f"--trials {trials}", *(f"--widen {r}" for r in ranges)])
    return EdgeWarning(
        trial=best.number,
        edges=tuple(edges),
        resume=f"gapsweep resume {words}",
        extend=f"gapsweep extend {words}",
    )


def _is_computed(declared: SearchSpace | None, dimension: Dimension) -> bool:
    """Whether the range of a dimension was left to `auto`, under any of its conditions."""
    if declared is None or dimension.name not in declared.parameters:
        return False
    when = dimension.plain.when
    return any(
        isinstance(one.plain, Auto)
        and all(k in when and set(when[k]) <= set(v) for k, v in one.plain.when.items())
        for one in declared.list_dimensions(dimension.name)
    )


def _find_edge(
    spec: SweepSpec, dimension: Dimension, value: Value, computed: bool
) -> Iterator[Edge]:
    plain = dimension.plain
    if not isinstance(plain, Float | Int) or not plain.contains(value):
        return
    assert isinstance(value, int | float), "a range has numbers"
    position = _locate(plain, value)
    end: Literal["low", "high"] = "low" if position < 0.5 else "high"
    if min(position, 1 - position) > SHARE + 1e-9:
        return
    valid = (b for b in _list_bounds(plain, end) if _is_valid(spec, dimension.name, b))
    bound = next(valid, None)
    if bound is None:
        return
    wider = (bound, plain.high) if end == "low" else (plain.low, bound)
    yield Edge(
        parameter=dimension.name,
        dimension=dimension.stored,
        value=value,
        low=plain.low,
        high=plain.high,
        end=end,
        wider=None if computed and end == "low" else wider,
        computed=computed,
    )


def _locate(plain: Float | Int, value: float) -> float:
    """Where in its range a value is, from 0 to 1."""
    low, high = float(plain.low), float(plain.high)
    if plain.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def _list_bounds(plain: Float | Int, end: str) -> Iterator[float]:
    """Bounds beyond an end, the farthest first; a range of positive numbers stays positive."""
    low, high = float(plain.low), float(plain.high)
    for halvings in range(_TRIES):
        share = 0.5**halvings
        if plain.log:
            factor = min(_DECADE, high / low) ** share
            bound = _round(low / factor, low) if end == "low" else _round(high * factor, high)
        else:
            distance = _round_up(plain, 0.5 * share * (high - low))
            bound = low - distance if end == "low" else high + distance
            bound = _limit(plain, float(f"{bound:.12g}"))  # 0.3, not 0.30000000000000004
        if isinstance(plain, Int):
            bound = math.floor(bound) if end == "low" else math.ceil(bound)
        if (bound < low) if end == "low" else (bound > high):
            yield bound
        if end == "high" and halvings == 0 and high < 1 < bound and plain.step is None:
            yield 1  # of a share or a probability


def _limit(plain: Float | Int, bound: float) -> float:
    """A bound that is not beyond 0, or 1 of whole numbers, where the range is not."""
    least = 1 if isinstance(plain, Int) and plain.low >= 1 else 0
    if plain.low < least or bound >= least:
        return bound
    step = plain.step if plain.step is not None else 0
    return plain.low - step * math.floor((plain.low - least) / step) if step else least


def _round_up(plain: Float | Int, distance: float) -> float:
    """A distance in whole steps, or in two digits."""
    if plain.step is not None:
        return plain.step * math.ceil(distance / plain.step - 1e-9)
    return float(f"{distance:.2g}")


def _round(bound: float, beyond: float) -> float:
    """A bound in two digits, if these are on the same side of another one."""
    rounded = float(f"{bound:.2g}")
    return rounded if (rounded < beyond) == (bound < beyond) and rounded != beyond else bound


def _is_valid(spec: SweepSpec, name: str, bound: float) -> bool:
    try:
        check_value(spec, name, bound)
    except ValueError:
        return False
    return True
