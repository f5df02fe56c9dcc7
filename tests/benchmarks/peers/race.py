"""gapsweep and its peers on the same loop, space, data and slots, one after the other in one run.

    python -m tests.benchmarks.peers.race [--problems digits …] [--seeds 5] [--systems gapsweep …]
        [--trials 40] [--replicates 5] [--file FILE]

It needs Syne Tune: ``pip install --no-deps -r tests/benchmarks/peers/requirements.txt``.
Everything is timed from the start of the command. The best point that a system saw, by val/loss at
its best epoch, is trained anew with the same divisions and seeds for every system; the test loss is
the mean over them, its interval that of the mean over seeds of the search (Student, 95 %).

A run of all takes an hour and more of quiet cores: with ``--file`` each search is kept, and what a
file of the same trials and replicates has is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median, stdev

from scipy.stats import t as student

from tests.benchmarks.peers import by_gapsweep
from tests.benchmarks.peers.loop import Epoch, read_epochs
from tests.benchmarks.peers.problems import PROBLEMS, TRIALS
from tests.benchmarks.peers.space import Params
from trainables.analysis.held_out import measure_held_out
from trainables.build import build_run
from trainables.loop import train

_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class System:
    """How a system is started, where its epochs are read, and where it runs (a folder of its own).

    gapsweep runs where the functions of the data are: it takes code of a spec from there.
    """

    prepare: Callable[[str, int, Path], list[str]]
    read: Callable[[Path], list[Epoch]]
    place: Path | None = None


def _peer(module: str) -> System:
    def prepare(problem: str, seed: int, folder: Path) -> list[str]:
        name = f"tests.benchmarks.peers.{module}"
        return [sys.executable, "-m", name, problem, str(seed), str(folder)]

    return System(prepare, read_epochs)


SYSTEMS: Mapping[str, System] = {
    "gapsweep": System(by_gapsweep.prepare, by_gapsweep.read, _ROOT),
    "Optuna, two processes": _peer("by_optuna"),
    "Syne Tune": _peer("by_syne_tune"),
    "stock Ray Tune": _peer("by_ray"),
}


@dataclass(frozen=True)
class Result:
    """One search: seconds from its command's start, and the test loss of its best point."""

    whole: float
    first: float
    epochs: int
    to_targets: tuple[tuple[float, int] | None, ...]
    test: float


@dataclass(frozen=True)
class Search:
    """What is run: one search of one system, and the trainings of its best point."""

    problem: str
    system: str
    seed: int
    trials: int
    replicates: int


class Results:
    """The searches that were run, in this process or in one before it that had the same file."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._found = path, dict[Search, Result]()
        lines = path.read_text().splitlines() if path and path.exists() else []
        for search, result in map(json.loads, lines):
            reached = tuple(tuple(one) if one else None for one in result.pop("to_targets"))
            self._found[Search(**search)] = Result(to_targets=reached, **result)

    def get(self, search: Search) -> Result:
        """The result of a search, which is run unless it was before."""
        if search not in self._found:
            result = run(SYSTEMS[search.system], search.problem, search.seed, search.replicates)
            self._found[search] = result
            print(f"{search}: {result}", file=sys.stderr, flush=True)
            if self._path:
                with self._path.open("a") as file:
                    file.write(json.dumps([asdict(search), asdict(result)]) + "\n")
        return self._found[search]


def run(system: System, problem: str, seed: int, replicates: int) -> Result:
    """Run a search in a process of its own, and confirm what it found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = system.prepare(problem, seed, folder)
        path = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "SYNETUNE_FOLDER": name}
        log = folder / "log"
        with log.open("w") as out:
            start = time.time()
            done = subprocess.run(
                words, stdout=out, stderr=out, cwd=system.place or folder, env=env
            )
            end = time.time()
        if done.returncode:
            sys.exit(f"{' '.join(words)} failed:\n{log.read_text()[-3000:]}")
        epochs = system.read(folder)
    best = min(epochs, key=lambda epoch: epoch.loss)
    reached = tuple(_reach(epochs, target, start) for target in PROBLEMS[problem].targets)
    test = confirm(problem, best.params, replicates)
    return Result(end - start, epochs[0].time - start, len(epochs), reached, test)


def _reach(epochs: Sequence[Epoch], target: float, start: float) -> tuple[float, int] | None:
    for count, epoch in enumerate(epochs, 1):
        if epoch.loss <= target:
            return epoch.time - start, count
    return None


def confirm(problem: str, point: Params, replicates: int) -> float:
    """The mean test loss of new trainings, with divisions and seeds of their own."""
    spec, rows = PROBLEMS[problem].spec, PROBLEMS[problem].rows
    params, losses = {**spec.neutral_point(), **point}, []
    for number in range(1, replicates + 1):
        splits = rows.divide(number)
        training = build_run(spec, params, splits, baseline=False, device="cpu", seed=number)
        for _ in train(training):
            pass
        held = measure_held_out(training, splits, training.best_state)
        losses.append(held.metrics["test/loss"])
    return fmean(losses)


def describe(name: str, results: Sequence[Result]) -> str:
    """A row of the table: medians, and the range of the seeds."""
    targets = [
        _describe_target([result.to_targets[place] for result in results])
        for place in range(len(results[0].to_targets))
    ]
    cells = [
        name,
        _spread([r.whole for r in results]),
        _spread([r.first for r in results]),
        _spread([r.whole - r.first for r in results]),
        _spread([r.epochs for r in results], 0),
        *targets,
        _interval([r.test for r in results]),
    ]
    return "| " + " | ".join(cells) + " |"


def _spread(values: Sequence[float], digits: int = 1) -> str:
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def _describe_target(reached: Sequence[tuple[float, int] | None]) -> str:
    found = [one for one in reached if one is not None]
    if not found:
        return f"never ({len(reached)})"
    text = f"{median(s for s, _ in found):.1f} s, {median(e for _, e in found):.0f} epochs"
    never = len(reached) - len(found)
    return f"{text}; {never} of {len(reached)} never" if never else text


def _interval(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.4f}"
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return f"{fmean(values):.4f} ± {half:.4f}"


def main() -> None:
    """All systems on all problems, seed by seed, so that a busy minute is everybody's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=40, help="of a search")
    parser.add_argument("--replicates", type=int, default=5, help="trainings of its best point")
    parser.add_argument("--file", type=Path, help="where searches are kept, and read again")
    options = parser.parse_args()
    os.environ[TRIALS] = str(options.trials)
    kept = Results(options.file)
    for problem in options.problems:
        results: dict[str, list[Result]] = {name: [] for name in options.systems}
        for seed in range(options.seeds):
            for name in options.systems:
                search = Search(problem, name, seed, options.trials, options.replicates)
                results[name].append(kept.get(search))
        targets = " | ".join(f"to {target:g}" for target in PROBLEMS[problem].targets)
        head = (
            f"| {problem} | whole, s | first epoch, s | after it, s | epochs | {targets} | test |"
        )
        print(f"\n{head}\n{'|---' * (head.count('|') - 1)}|")
        for name, found in results.items():
            print(describe(name, found), flush=True)


if __name__ == "__main__":
    main()
