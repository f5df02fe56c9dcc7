"""How often decisions are wrong: sweeps of known truth, simulated, through the real decision code.

python -m tests.benchmarks.calibration [--quick]
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from service.answer.interim_looks import Decision
from tests.simulated_decisions import Outcome, World, simulate

HIGHEST_RATE = 0.06
LOWEST_COVERAGE = 0.93
SEED = 20
PAIRED = math.sqrt(2)  # standard deviation of a paired difference over replicates

NULL: Mapping[str, World] = {
    "split variance 0": World(split=0),
    "split variance 0.5": World(split=0.5),
    "split variance 1": World(),
    "split variance 2": World(split=2),
    "split variance 0, rows' error 0.1": World(split=0, rows_error=0.1),
    "rows' error 0.2": World(rows_error=0.2),
    "rows' error 2": World(rows_error=2),
    "1,000 rows": World(rows=1000),
    "1,000 rows, their error 0.1": World(rows=1000, rows_error=0.1),
    "replicates' means only": World(rows=1, rows_error=0),
    "heavy tails of seeds": World(heavy_seeds=True),
    "heavy tails of rows": World(heavy_rows=True, rows_error=1),
    "heavy tails of both": World(heavy_seeds=True, heavy_rows=True),
    "heavy tails of both, 1,000 rows": World(heavy_seeds=True, heavy_rows=True, rows=1000),
    "rows skewed to the pick's side": World(skew=1, rows_error=1),
    "rows skewed to the control's side": World(skew=-1, rows_error=1),
    "0/1 metric": World(zero_one=True),
    "0/1 metric, rows' error 0.1": World(zero_one=True, rows_error=0.1),
    "0/1 metric, 1,000 rows": World(zero_one=True, rows=1000),
    "pool offset 0.1": World(pool=0.1),
    "pool offset 0.2": World(pool=0.2),
    "a tenth of the replicates fails": World(failing=0.1),
    "extension": World(extended=True),
    "extension, split variance 2, heavy tails": World(
        extended=True, split=2, heavy_seeds=True, heavy_rows=True
    ),
}
POOLS: Mapping[str, World] = {
    f"pool offset {pool}{text}": World(pool=pool, overlap=overlap)
    for pool in (0.0, 0.25, 0.5, 1.0)
    for overlap, text in ((0.0, ""), (1 / 3, ", corrected"))
}
POWER: Mapping[str, World] = {
    f"{effect} sd, {rows} rows{text}": World(
        rows=rows, effect=effect * PAIRED, min_effect=0.5 * PAIRED, overlap=overlap
    )
    for rows, overlap, text in ((60, 0.0, ""), (1000, 0.0, ""), (60, 1 / 3, ", corrected"))
    for effect in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
}
PARTS: Mapping[str, World] = {
    f"{rows} rows, their error {error}, effect 2 sd": World(
        rows=rows, rows_error=error, effect=2 * PAIRED, min_effect=0.25
    )
    for rows, error in ((60, 0.5), (60, 0.1), (1000, 0.5))
}
IDLE_PARTS = 3
_BLOCK = 500


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often something happened."""

    hits: int
    of: int

    @property
    def share(self) -> float:
        """Nothing of nothing is 0."""
        return self.hits / max(self.of, 1)

    @property
    def bound(self) -> float:
        """Clopper and Pearson's upper bound, one-sided at 95 %."""
        if self.hits == self.of:
            return 1.0
        return float(beta.ppf(0.95, self.hits + 1, self.of - self.hits))


def rate(outcomes: Iterable[bool]) -> Rate:
    """That of the true ones."""
    found = list(outcomes)
    return Rate(hits=sum(found), of=len(found))


def _simulate_block(task: tuple[World, int, tuple[int, ...], int]) -> list[Outcome]:
    world, decisions, seed, idle_parts = task
    entropy = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return simulate(world, decisions, entropy, idle_parts=idle_parts)


def run(
    cells: Mapping[str, World], decisions: int, group: int, *, idle_parts: int = 0
) -> Iterator[tuple[str, list[Outcome]]]:
    """Every cell's decisions, as they come, on all cores; seeds by group, cell and block."""
    tasks = [
        (world, min(_BLOCK, decisions - start), (SEED, group, number, start), idle_parts)
        for number, world in enumerate(cells.values())
        for start in range(0, decisions, _BLOCK)
    ]
    blocks = math.ceil(decisions / _BLOCK)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(_simulate_block, tasks)
        for name in cells:
            yield name, [outcome for _ in range(blocks) for outcome in next(found)]


def _print_row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def _print_head(*cells: str) -> None:
    print()
    _print_row(*cells)
    _print_row(*["---"] * len(cells))


def print_nulls(decisions: int) -> bool:
    """Equal arms: wrong claims and coverage; whether all cells are within what is allowed."""
    _print_head("equal arms", "wrong *helps*", "95 % bound", "interval covers", "at 95 %", "met")
    all_met = True
    for name, outcomes in run(NULL, decisions, 0):
        wrong, covered = rate(o.claimed for o in outcomes), rate(o.covered for o in outcomes)
        met = wrong.bound < HIGHEST_RATE and covered.share >= LOWEST_COVERAGE
        all_met &= met
        _print_row(
            name,
            f"{wrong.share:.2%}",
            f"{wrong.bound:.2%}",
            f"{covered.share:.1%}",
            f"{rate(o.covered_at_95 for o in outcomes).share:.1%}",
            "yes" if met else "**no**",
        )
    return all_met


def print_pools(decisions: int) -> None:
    """What an offset that all replicates share does, for claims about other pools."""
    _print_head("equal arms over pools", "*helps*", "interval covers")
    for name, outcomes in run(POOLS, decisions, 1):
        claims, covered = rate(o.claimed for o in outcomes), rate(o.covered for o in outcomes)
        _print_row(name, f"{claims.share:.1%}", f"{covered.share:.1%}")


def print_power(decisions: int) -> None:
    """Chance of a claim, of an exclusion, and the replicates that it takes."""
    _print_head("effect", "*helps* by 5", "by 12", "by 20", "not shown", "covers", "replicates")
    for name, outcomes in run(POWER, decisions, 2):
        used = [o.look.effect.replicates for o in outcomes]
        by = [
            rate(o.claimed and o.look.effect.replicates <= most for o in outcomes)
            for most in (5, 12, 20)
        ]
        none = rate(o.look.decision is Decision.NOT_SHOWN for o in outcomes)
        _print_row(
            name,
            *(f"{found.share:.0%}" for found in (*by, none)),
            f"{rate(o.covered for o in outcomes).share:.1%}",
            f"{np.mean(used):.1f}",
        )


def print_parts(decisions: int) -> None:
    """Parts of picks that were said to help: one is the whole effect, the others nothing."""
    _print_head("parts", "true part acts", "any idle part acts", "95 % bound", "all covered")
    for name, outcomes in run(PARTS, decisions, 3, idle_parts=IDLE_PARTS):
        judged = [o.parts for o in outcomes if o.parts is not None]
        wrong = rate(p.false_acts for p in judged)
        _print_row(
            f"{name} ({len(judged)} picks)",
            f"{rate(p.true_acts for p in judged).share:.1%}",
            f"{wrong.share:.2%}",
            f"{wrong.bound:.2%}",
            f"{rate(p.covered for p in judged).share:.1%}",
        )


def main() -> None:
    """All tables; fails if a cell of equal arms is not within what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the decisions")
    options = parser.parse_args()
    decisions = 1_000 if options.quick else 10_000
    print(f"{decisions} decisions in each row, seed {SEED}")
    met = print_nulls(decisions)
    print_pools(decisions // 5)
    print_power(decisions // 5)
    print_parts(decisions // 5)
    if not met:
        raise SystemExit("a cell of equal arms exceeds what is allowed")


if __name__ == "__main__":
    main()
