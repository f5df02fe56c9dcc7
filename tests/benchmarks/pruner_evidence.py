"""Which pruner finds as good a configuration in the fewest epochs, on the library of sweeps?

    python -m tests.benchmarks.pruner_evidence [--repeats 100] [--sampler random] [--file FILE]

Searches are replayed on `tests/benchmarks/histories`, trainings ended by the early stopping that
specs have by default. Two questions of each pruner: what 40 trials come to, and after how many
epochs, with as many trials as that takes, half of the searches have what half of those with
`median`, the default until this was measured, have after 40 trials.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, geometric_mean

import numpy as np

from service.replay.comparison import Losses, count_losses, count_trials
from service.replay.recorded_trainings import Courses, prepare
from service.replay.simulation import Replay, replay
from service.replay.statistics import Fate, find_fate, quantile
from service.replay.table_file import read_table
from service.replay.variants import Variant, list_variants, read_stopping
from service.spec.model import SweepSpec
from tests.benchmarks.histories import list_tables

REFERENCE = "median"
_PERFECT = "tests.benchmarks.perfect_pruner:PerfectPruner"
PRUNERS: Mapping[str, str] = {
    "none": "none",
    "median": "median",
    "halving from 1": "successive_halving",
    "halving from 3": "{name: successive_halving, min_epochs: 3}",
    "halving from 10": "{name: successive_halving, min_epochs: 10}",
    "a third from 10": "{name: successive_halving, min_epochs: 10, reduction_factor: 3}",
    "hyperband": "hyperband",
    "top 3 after 1": "{name: top_k, epochs: 1, k: 3}",
    "top 3 after 5": "{name: top_k, epochs: 5, k: 3}",
    "promote from 1": "pause_and_promote",
    "promote from 3, thirds": "{name: pause_and_promote, min_epochs: 3, reduction_factor: 3}",
    "promote from 5, halves": "{name: pause_and_promote, min_epochs: 5, reduction_factor: 2}",
    "forecast": "forecast",
    "forecast by strength": "{name: by_strength, pruner: forecast}",
    "forecast, margin 0.3": "{name: forecast, margin: 0.3}",
    "median from 5": "{name: median, warmup_epochs: 5}",
    "median by strength": "by_strength",
    "halving from 10 by strength": (
        "{name: by_strength, pruner: {name: successive_halving, min_epochs: 10}}"
    ),
    "best 25 %": "percentile",
    "best 25 % by strength": "{name: by_strength, pruner: percentile}",
    "perfect after 3": f"{{name: '{_PERFECT}', epochs: 3}}",
    "perfect after 6": f"{{name: '{_PERFECT}', epochs: 6}}",
    "perfect after 9": f"{{name: '{_PERFECT}', epochs: 9}}",
    "perfect after 12": f"{{name: '{_PERFECT}', epochs: 12}}",
}
"""Every pruner of the table: one line adds one. The last four are no real ones but bounds."""
TRIALS, SLOTS = 40, 2
_DRAWS = 1_000
_TARGET_SEEDS = 40


@dataclass(frozen=True)
class Search:
    """One search of a pruner on a data set, of 40 trials, and one of as many as it takes.

    ``regret`` is a share of the distance from the best to the median configuration; ``arrival`` is
    after how many epochs the longer search had the reference's value, infinite if never.
    """

    data: str
    pruner: str
    seed: int
    epochs: int
    regret: float
    fate: Fate | None
    arrival: float


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One data set, with the regret that half of the reference's searches have after 40 trials."""

    name: str
    courses: Courses
    sampler: str

    @cached_property
    def spread(self) -> float:
        """The distance from the best to the median configuration, the unit of regret."""
        regrets = [self.courses.measure_regret(c.standing) for c in self.courses.drawn]
        return quantile(regrets, 0.5)

    @cached_property
    def target(self) -> float:
        """The final regret of half of the reference's searches, over fixed seeds."""
        variant = self._choose(PRUNERS[REFERENCE])
        found = [self._run(variant, seed, TRIALS) for seed in range(_TARGET_SEEDS)]
        return quantile([self._find_regret(r) for r in found], 0.5)

    def search(self, label: str, seed: int) -> Search:
        """Both searches of one pruner with one seed."""
        variant = self._choose(PRUNERS[label])
        found = self._run(variant, seed, TRIALS)
        return Search(
            data=self.name,
            pruner=label,
            seed=seed,
            epochs=found.epochs,
            regret=self._find_regret(found) / self.spread,
            fate=find_fate(self.courses, found),
            arrival=self._find_arrival(variant, seed, found),
        )

    def _find_arrival(self, variant: Variant, seed: int, short: Replay) -> float:
        """The epochs to the target; a longer search begins as the ``short`` one, unless it pauses.

        What goes on after a pause depends on whether more trials follow.
        """
        pauses = variant.spec.search.pruner.pauses
        if pauses or self._find_regret(short) > self.target:
            most = count_trials(self.courses)
            short = self._run(variant, seed, most, until=self.target)
        arrived = (
            i.epochs
            for i in short.improvements
            if self.courses.measure_regret(i.standing) <= self.target
        )
        return float(next(arrived, math.inf))

    def find_spec(self, label: str) -> SweepSpec:
        """The spec that searches with a pruner of the table."""
        return self._choose(PRUNERS[label]).spec

    def _choose(self, pruner: str) -> Variant:
        (variant,) = list_variants(self.courses.history, [pruner], [self.sampler])
        return variant

    def _run(self, variant: Variant, seed: int, trials: int, until: float | None = None) -> Replay:
        spec = variant.with_seed(seed)
        return replay(self.courses, spec, trials=trials, slots=SLOTS, until=until)

    def _find_regret(self, found: Replay) -> float:
        if not found.improvements:
            return math.inf
        return self.courses.measure_regret(found.improvements[-1].standing)


@dataclass(frozen=True)
class Cell:
    """The searches of one pruner on one data set, by seed."""

    data: str
    pruner: str
    searches: tuple[Search, ...]

    @property
    def epochs(self) -> float:
        """Of 40 trials, the mean."""
        return fmean(s.epochs for s in self.searches)

    def find_regret(self, share: float) -> float:
        """What this share of the searches does not exceed."""
        return quantile([s.regret for s in self.searches], share)

    @property
    def fates(self) -> list[Fate | None]:
        """What became of the best configurations of each search."""
        return [s.fate for s in self.searches]


def gather(searches: Iterable[Search]) -> list[Cell]:
    """The cells of the tables, those of data sets together, pruners in the order of their list."""
    found: dict[tuple[str, str], list[Search]] = {}
    for one in searches:
        found.setdefault((one.data, one.pruner), []).append(one)
    places = list(PRUNERS)
    keys = sorted(found, key=lambda key: (key[0], places.index(key[1])))
    return [Cell(*key, tuple(sorted(found[key], key=lambda s: s.seed))) for key in keys]


def open_bench(table: Path, sampler: str) -> Bench:
    """A data set of the library, early stopping as in a spec by default."""
    courses = prepare(read_table(table), read_stopping("patience"))
    return Bench(name=table.stem, courses=courses, sampler=sampler)


def compare_arrivals(cell: Cell, reference: Cell) -> tuple[float, float, float]:
    """The epochs to the target, as a share of the reference's; its interval by bootstrap."""
    theirs = {s.seed: s.arrival for s in reference.searches}
    both = [(s.arrival, theirs[s.seed]) for s in cell.searches if s.seed in theirs]
    pair = np.array(both).T
    draws = np.random.default_rng(0).integers(pair.shape[1], size=(_DRAWS, pair.shape[1]))
    medians = np.array([[quantile(side[draw], 0.5) for side in pair] for draw in draws])
    with np.errstate(invalid="ignore"):
        ratios = medians[:, 0] / medians[:, 1]
    whole = quantile(pair[0], 0.5) / quantile(pair[1], 0.5)
    return whole, quantile(ratios, 0.025), quantile(ratios, 0.975)


def find_reference(cells: Sequence[Cell], data: str) -> Cell:
    """The searches on a data set that others are compared with."""
    return next(c for c in cells if (c.data, c.pruner) == (data, REFERENCE))


def write_rows(cells: Sequence[Cell]) -> Iterator[str]:
    """A row of each data set and pruner, in Markdown."""
    for cell in cells:
        reference = find_reference(cells, cell.data)
        whole, low, high = compare_arrivals(cell, reference)
        yield _join(
            cell.data,
            cell.pruner,
            f"{cell.epochs:,.0f}",
            f"{_ratio(whole)} ({_ratio(low)} to {_ratio(high)})",
            f"{cell.find_regret(0.5):.1%}",
            f"{cell.find_regret(0.9):.1%}",
            *_write_losses(count_losses(cell.fates)),
        )


def write_overall(cells: Sequence[Cell]) -> Iterator[str]:
    """A row of each pruner over all data sets: geometric and plain means, and counts together."""
    for label in dict.fromkeys(c.pruner for c in cells):
        own = [c for c in cells if c.pruner == label]
        references = [find_reference(cells, c.data) for c in own]
        ratios = [compare_arrivals(c, t)[0] for c, t in zip(own, references, strict=True)]
        spent = geometric_mean([c.epochs / t.epochs for c, t in zip(own, references, strict=True)])
        reached = [ratio for ratio in ratios if math.isfinite(ratio)]
        mean = f"{geometric_mean(reached):.2f} on " if reached else ""
        yield _join(
            label,
            f"{spent:.2f}",
            f"{mean}{len(reached)} of {len(ratios)}",
            f"{fmean(c.find_regret(0.5) for c in own):.1%}",
            f"{fmean(c.find_regret(0.9) for c in own):.1%}",
            *_write_losses(count_losses([f for c in own for f in c.fates])),
        )


def _write_losses(losses: Losses) -> Iterator[str]:
    for share in (losses.best, losses.when_strong, losses.when_weak, losses.strong, losses.weak):
        yield "" if share is None else f"{share.value:.0%}"
    found = losses.difference
    if found is None:
        yield ""
    else:
        low, high = found.interval
        yield f"{100 * found.value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "never"


def _join(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


_LOSSES = (
    *("best pruned", "if it is strong", "if it is weak", "best strong pruned", "best weak pruned"),
    "difference, points",
)
_COSTS = ("epochs to median's value", "regret", "90 % within", *_LOSSES)


def print_table(titles: Sequence[str], rows: Iterator[str]) -> None:
    """A table in Markdown."""
    print(_join(*titles))
    print(_join(*("---" for _ in titles)))
    print("\n".join(rows), end="\n\n", flush=True)


def main() -> None:
    """Both tables, of all searches in the file; progress goes to standard error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100, help="seeds; 0: only print the file's")
    parser.add_argument("--sampler", default="random", help="as in a spec")
    parser.add_argument("--only", nargs="*", help="pruners by name, beside the reference")
    parser.add_argument("--data", nargs="*", help="data sets; default: all")
    parser.add_argument("--file", type=Path, help="keep searches here, and do not repeat them")
    options = parser.parse_args()
    labels = [n for n in PRUNERS if n == REFERENCE or not options.only or n in options.only]
    tables = [t for t in list_tables() if not options.data or t.stem in options.data]
    benches = [open_bench(table, options.sampler) for table in tables]
    found = _read(options.file)
    known = {(s.data, s.pruner, s.seed) for s in found}
    for seed in range(options.repeats):
        print(f"seed {seed}", file=sys.stderr, flush=True)
        for bench in benches:
            for label in (n for n in labels if (bench.name, n, seed) not in known):
                found.append(bench.search(label, seed))
                _append(options.file, found[-1])
    cells = gather(found)
    print_table(("pruner", "epochs of 40 trials", *_COSTS), write_overall(cells))
    print_table(("data", "pruner", "epochs of 40 trials", *_COSTS), write_rows(cells))


def _read(path: Path | None) -> list[Search]:
    if path is None or not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Search(**{**line, "fate": None if line["fate"] is None else Fate(**line["fate"])})
        for line in lines
        if line["pruner"] in PRUNERS
    ]


def _append(path: Path | None, found: Search) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
