"""Points of a search space that are drawn at random, without a study."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from search_spaces.points import select_representable
from search_spaces.sampling import suggest
from search_spaces.space import SearchSpace
from search_spaces.values import Value


def draw_point(space: SearchSpace, seed: int, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """A random point of the space with active parameters only; those in ``fixed`` are given."""
    given = select_representable(space, fixed)
    return suggest(space, _Draws(random.Random(seed), given), fixed)


class _Draws:
    """What values are drawn from, see :class:`search_spaces.sampling.Suggesting`."""

    def __init__(self, rng: random.Random, given: Mapping[str, Any]) -> None:
        self._rng, self._given = rng, given

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number."""
        if name in self._given:
            return float(self._given[name])
        if log:
            return math.exp(self._rng.uniform(math.log(low), math.log(high)))
        if step is not None:
            return low + step * self._rng.randint(0, int((high - low) / step + 1e-9))
        return self._rng.uniform(low, high)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number, uniform also where trials draw its logarithm."""
        if name in self._given:
            return int(self._given[name])
        return self._rng.randrange(low, high + 1, step)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of the choices."""
        return self._given[name] if name in self._given else self._rng.choice(list(choices))
