"""Sweeps whose truth is known, simulated up to what the decisions see, and decided by real code.

The unit is an arm's standard deviation over seeds. All candidates are equal, and better than the
control by ``effect``. A search value is an arm's seed effect plus an offset of arm and validation
rows; the three best candidates are replicated, the best of them by validation means is the pick,
and its differences from the control on the test rows go through the looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.answer.effects import PartState, judge_parts, pair_replicates
from service.answer.interim_looks import Decision, Look, Spending, decide, spend
from service.spec.sections import LOOKS

CANDIDATES = 33
FINALISTS = 3
_TAILS = 2.5  # degrees of freedom of Student's t
_LATENT = 0.3  # of zero-one metrics: an arm's standard deviation over seeds, rows' being 2
_HARD = -2.0  # of zero-one metrics: a fifth of the rows is wrong

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class World:
    """What is random, as multiples of an arm's standard deviation over seeds.

    ``split``: arm and validation rows. ``pool``: arm and all rows that are not test rows; it is
    the same in the search and in every replicate. ``rows_error``: the standard error of a
    difference that comes from arm and test rows. ``skew``: the control's effects on rows are
    exponential, with the tail on its good (-1) or bad (1) side. ``zero_one``: errors instead of
    losses. ``failing``: the share of replicates that fail. ``extended``: as many candidates again
    after a first family without a claim. ``overlap`` is that of the estimate.
    """

    rows: int = 60
    split: float = 1.0
    pool: float = 0.0
    rows_error: float = 0.5
    heavy_seeds: bool = False
    heavy_rows: bool = False
    skew: int = 0
    zero_one: bool = False
    failing: float = 0.0
    extended: bool = False
    effect: float = 0.0
    min_effect: float = 0.0
    overlap: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PartsOutcome:
    """What removing parts showed: one that is the whole effect, and others that are nothing."""

    true_acts: bool
    false_acts: bool
    covered: bool  # all intervals at once


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The look that ended a sweep; ``truth`` is the pick's effect on new rows of any pool.

    ``parts`` is there if the pick was said to help and its parts were to be judged.
    """

    look: Look
    truth: float
    parts: PartsOutcome | None

    @property
    def claimed(self) -> bool:
        """Whether the sweep says that the pick helps."""
        return self.look.decision is Decision.HELPS

    @property
    def covered(self) -> bool:
        """Whether the interval that goes with the decision holds the truth."""
        low, high = self.look.interval
        return low <= self.truth <= high

    @property
    def covered_at_95(self) -> bool:
        """The same of the interval at 95 %, whatever the look's level."""
        low, high = self.look.effect.interval(0.95)
        return low <= self.truth <= high


def simulate(world: World, decisions: int, seed: int, *, idle_parts: int = 0) -> list[Outcome]:
    """That many sweeps of a world, each decided; the same for the same seed.

    With ``idle_parts``, the parts of a pick that helps are judged: one that is its whole effect
    and that many without any.
    """
    random = np.random.default_rng(seed)
    return [_Sweep(world, random).decide(idle_parts) for _ in range(decisions)]


class _Sweep:
    """One sweep: its search, its arms and its looks."""

    def __init__(self, world: World, random: np.random.Generator) -> None:
        self._world, self._random = world, random
        self._shared = random.standard_normal(LOOKS[-1]) + random.normal(0, 2)
        self._difficulty = 2 * random.standard_normal(world.rows)
        pool = float(self._pools(1)[0])
        self._control = self._costs(pool, self._seeds(LOOKS[-1]), world.skew)
        self._pick: Sequence[Values | None] = ()
        self._pool = self._search = np.empty(0)
        self._replicated: dict[int, tuple[Values, float]] = {}

    def decide(self, idle_parts: int) -> Outcome:
        """All looks at the pick, and after an extension without a claim those at the new one."""
        spent: list[Spending] = []
        pick = self._choose()
        look = self._look(pick, spent)
        if self._world.extended and look.decision is not Decision.HELPS:
            new = self._choose()
            look = look if new == pick else self._look(new, spent)
        judged = idle_parts and look.decision is Decision.HELPS
        parts = self._judge_parts(idle_parts, look.effect.replicates) if judged else None
        return Outcome(look=look, truth=-self._world.effect, parts=parts)

    def _judge_parts(self, idle: int, replicates: int) -> PartsOutcome:
        """One part is the whole effect: without it, the pick is as the control."""
        means = {"true": 0.0} | {str(number): -self._world.effect for number in range(idle)}
        removals = {}
        for name, mean in means.items():
            costs = self._costs(mean, self._seeds(replicates), 0)
            removals[name] = pair_replicates(costs, self._pick[:replicates])
        found = judge_parts(removals, min_effect=self._world.min_effect)
        acting = {name for name, part in found.items() if part.state is PartState.ACTS}
        truths = {name: mean + self._world.effect for name, mean in means.items()}
        return PartsOutcome(
            true_acts="true" in acting,
            false_acts=bool(acting - {"true"}),
            covered=all(
                part.removal.interval[0] <= truths[name] <= part.removal.interval[1]
                for name, part in found.items()
            ),
        )

    def _choose(self) -> int:
        """Searches, replicates the finalists and returns the pick."""
        pool = self._pools(CANDIDATES)
        found = pool + self._seeds(CANDIDATES) + self._split(CANDIDATES)
        self._pool = np.concatenate((self._pool, pool))
        self._search = np.concatenate((self._search, found))
        finalists = [int(number) for number in np.argsort(self._search)[:FINALISTS]]
        for number in finalists:
            if number not in self._replicated:
                seeds, first = self._seeds(LOOKS[-1]), LOOKS[0]
                validation = self._pool[number] + seeds[:first] + self._split(first)
                self._replicated[number] = seeds, float(validation.mean())
        return min(finalists, key=lambda number: self._replicated[number][1])

    def _look(self, pick: int, spent: list[Spending]) -> Look:
        mean = float(self._pool[pick]) - self._world.effect
        self._pick = self._costs(mean, self._replicated[pick][0], 0)
        for replicates in LOOKS:
            spent.append(spend(spent, str(pick), replicates))
            look = decide(
                pair_replicates(self._pick[:replicates], self._control[:replicates]),
                alpha=spent[-1].alpha,
                min_effect=self._world.min_effect,
                last=replicates == LOOKS[-1],
                overlap=self._world.overlap,
            )
            if look.decision is not Decision.CONTINUE:
                break
        return look

    def _costs(self, mean: float, seeds: Values, skew: int) -> Sequence[Values | None]:
        """An arm's costs on the test rows, by replicate; None where the replicate failed."""
        world, random = self._world, self._random
        scale = world.rows_error * math.sqrt(world.rows / 2)
        ours = scale * self._row_effects(skew)
        rest = max(scale, 1.0) * random.standard_normal((len(seeds), world.rows))
        of_arm = mean + seeds[:, None] + ours + rest
        if world.zero_one:
            costs = (_HARD + self._difficulty + _LATENT * of_arm > 0).astype(np.float64)
        else:
            costs = of_arm + self._shared[: len(seeds), None] + self._difficulty
        failed = random.random(len(seeds)) < world.failing
        return [None if fails else row for fails, row in zip(failed, costs, strict=True)]

    def _pools(self, arms: int) -> Values:
        return self._world.pool * self._random.standard_normal(arms)

    def _split(self, values: int) -> Values:
        return self._world.split * self._random.standard_normal(values)

    def _seeds(self, values: int) -> Values:
        return self._tailed(values, self._world.heavy_seeds)

    def _row_effects(self, skew: int) -> Values:
        if skew:
            return skew * (self._random.exponential(size=self._world.rows) - 1)
        return self._tailed(self._world.rows, self._world.heavy_rows)

    def _tailed(self, values: int, heavy: bool) -> Values:
        if not heavy:
            return self._random.standard_normal(values)
        return self._random.standard_t(_TAILS, values) * math.sqrt((_TAILS - 2) / _TAILS)
