"""What `search.stop: auto` saves of a search, and what it costs, on the library of sweeps.

    python -m tests.benchmarks.stop_auto [--repeats 10] [--trials 80] [--samplers random tpe]

Searches are replayed on `tests/benchmarks/histories` without pruning, trainings ended by the early
stopping that specs have by default, with the rule and without it. The loss is that of the best
configuration found, as a share of the baseline's: the confirmation looks for 2 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from service.replay.comparison import count_trials
from service.replay.recorded_trainings import Courses, prepare
from service.replay.simulation import replay
from service.replay.statistics import quantile
from service.replay.table_file import read_table
from service.replay.variants import list_variants, read_stopping
from service.spec.model import SweepSpec
from tests.benchmarks.histories import list_tables

_SLOTS = 2


@dataclass(frozen=True)
class Pair:
    """One search with the rule and without it: trials with it, and what it spent and found less.

    ``epochs`` are a share of those without the rule, ``worse`` is a share of the baseline's loss.
    """

    trials: int
    epochs: float
    worse: float


def compare(courses: Courses, spec: SweepSpec, trials: int) -> Pair:
    """Run both searches."""
    whole = replay(courses, spec, trials=trials, slots=_SLOTS)
    stop = spec.search.model_copy(update={"stop": "auto"})
    early = replay(courses, spec.model_copy(update={"search": stop}), trials=trials, slots=_SLOTS)
    assert courses.baseline is not None
    scale = abs(courses.baseline.standing[1])
    found = [run.improvements[-1].standing[1] for run in (early, whole)]
    done = len(early.completed) + len(early.pruned)
    return Pair(done, early.epochs / whole.epochs, (found[0] - found[1]) / scale)


def run_table(table: Path, sampler: str, repeats: int, most: int) -> Iterator[Pair]:
    """The pairs of one data set."""
    courses = prepare(read_table(table), read_stopping("patience"))
    (variant,) = list_variants(courses.history, ["none"], [sampler])
    for seed in range(repeats):
        yield compare(courses, variant.with_seed(seed), min(most, count_trials(courses)))


def main() -> None:
    """A row of each data set and sampler."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10, help="seeds")
    parser.add_argument("--trials", type=int, default=80, help="budget of a search, at most")
    parser.add_argument("--samplers", nargs="+", default=["random", "tpe"], help="as in a spec")
    options = parser.parse_args()
    print("| data | sampler | trials with the rule | of the epochs | worse, mean | worst |")
    print("|---|---|---|---|---|---|")
    for table in list_tables():
        for sampler in options.samplers:
            found = list(run_table(table, sampler, options.repeats, options.trials))
            counts, worse = [p.trials for p in found], [p.worse for p in found]
            print(
                f"| {table.stem} | {sampler} | {median(counts):.0f} ({min(counts)} to "
                f"{max(counts)}) | {fmean(p.epochs for p in found):.0%} | {fmean(worse):.2%} | "
                f"{quantile(worse, 1.0):.2%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
