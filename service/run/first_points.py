"""The points that a search tries before the sampler's own, and how many trials it has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from search_spaces.grid import choose_spread, iterate_grid
from search_spaces.values import Value
from service.spec.model import SweepSpec
from service.study.records import Params, Role


def plan_search(spec: SweepSpec) -> tuple[int, list[tuple[Role, Params]]]:
    """The number of trials of the search, and the points to run before the sampler's."""
    trials = spec.budget.trials
    points: list[tuple[Role, Params]] = []
    if spec.search.baseline:
        points.append((Role.BASELINE, spec.neutral_point()))
    points += [(Role.ENQUEUED, point) for point in spec.search.enqueue]
    points += [(Role.CONTROL, point) for point in _list_controls(spec)]
    if spec.search.sampler.name == "grid":
        grid: Iterator[Params] = iterate_grid(spec.space, spec.search.grid_points)
        points += [(Role.SEARCH, p) for p in itertools.islice(grid, trials)]
        return min(trials, len(points)), points
    return trials, points


def _list_controls(spec: SweepSpec) -> list[Params]:
    """Points without regularisers, at which the sampler chooses the other parameters."""
    neutral: dict[str, Value] = {
        name: value for name, value in spec.neutral_point().items() if not spec.tunes(name)
    }
    count = spec.controls
    if spec.search.sampler.name != "grid" or not count:
        return [neutral] * count
    tuned = (name for name in spec.space.parameters if spec.tunes(name))
    spread = choose_spread(spec.space, tuned, spec.search.grid_points, count, neutral)
    return [{**neutral, **point} for point in spread]
