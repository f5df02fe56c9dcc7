"""What it costs to carry λ to other batch sizes and numbers of epochs, in units of a seed's spread.

``python -m tests.benchmarks.lambda_carried [--data digits breast_cancer …] [--seeds 3]``

``--jobs 16 --device cuda`` trains so many at once on one GPU, ``--samples 6000`` on so many of the
samples; with ``--minutes`` it ends then, and the table has the seeds that are complete.

λ is chosen at batches of 64 on a grid, then kept at batches of 16 and 256, and with half and twice
the epochs. The cost is val/loss there at the kept value above that at the grid's best value there.
Three units of λ: the spec's number with the updates of today, the spec's number with the updates
of before (``proximal_step: lr``, and decay by the learning rate), and λ as a multiple of the low
end of the range that ``lambda: auto`` computes for the setting.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cache
from multiprocessing import TimeoutError, get_context
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_wine

from service.run.ranges import compute_ranges
from service.spec.file import load_spec, parse_spec
from service.spec.model import SweepSpec
from trainables.build import build_run
from trainables.data.datasets import open_rows
from trainables.data.splits import Split, Splits
from trainables.loop import train

_MODULE = "tests.benchmarks.lambda_carried"
_SWEEPS = Path(__file__).parents[2] / "search_spaces" / "sweeps"
_STEPS = 9
_BEFORE = {"proximal_step": "lr"}


def load_wines() -> Any:
    """178 wines, 13 features, three classes."""
    return _shuffle(*load_wine(return_X_y=True))


def load_patients() -> Any:
    """442 patients, 10 features, a regression."""
    x, y = load_diabetes(return_X_y=True)
    return _shuffle(x, (y - y.mean()) / y.std())


def _shuffle(x: Any, y: Any) -> Any:
    order = np.random.default_rng(0).permutation(len(x))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)[order]
    y = y[order] if y.dtype.kind == "i" else y.astype(np.float32)[order]
    cut = len(x) * 3 // 4
    return {"train": (x[:cut], y[:cut]), "val": (x[cut:], y[cut:])}


_TABLES: Mapping[str, Any] = {"wine": "load_wines", "diabetes": "load_patients"}
NAMES = ("digits", "breast_cancer", "fashion", *_TABLES)


@dataclass(frozen=True)
class Setting:
    """A batch size, and a factor on the number of epochs."""

    batch_size: int = 64
    longer: float = 1.0


REFERENCE = Setting()
OTHERS = (Setting(16), Setting(256), Setting(64, 0.5), Setting(64, 2.0))


@dataclass(frozen=True)
class Subject:
    """One data set with its network and a penalty; of ``samples`` a part, 0 for all."""

    name: str
    penalty: str
    samples: int
    device: str


@dataclass(frozen=True)
class Unit:
    """A unit of λ: by the updates of ``before``, as a multiple of the setting's own range."""

    before: bool = False
    relative: bool = False


UNITS = (Unit(), Unit(before=True), Unit(relative=True))


@dataclass(frozen=True)
class Job:
    """One training."""

    subject: Subject
    setting: Setting
    before: bool
    lam: float
    seed: int


Range = tuple[float, float]
Losses = dict[Job, float]


def train_one(job: Job) -> float:
    """The training's val/loss."""
    spec = _change(job.subject, job.setting, job.before)
    point = {**spec.neutral_point(), "penalty": job.subject.penalty, "lambda": job.lam}
    splits = _open(job.subject.name, job.subject.samples)
    device = job.subject.device
    run = build_run(spec, point, splits, baseline=False, device=device, seed=job.seed)
    *_, last = train(run)
    return run.best_metrics().get("val/loss", last.metrics["val/loss"])


def measure_range(subject: Subject, setting: Setting, before: bool) -> Range:
    """The range that ``lambda: auto`` computes."""
    spec, splits = _change(subject, setting, before), _open(subject.name, subject.samples)
    assert isinstance(splits.train, Split)
    steps = -(-len(splits.train) // setting.batch_size)
    (dimension,) = compute_ranges(spec, splits, steps).space.list_dimensions("lambda")
    low, high = dimension.plain.extremes()
    assert isinstance(low, float)
    assert isinstance(high, float)
    return low, high


class Bench:
    """All trainings of a subject, by the ranges of its settings."""

    def __init__(self, subject: Subject, pool: Pool) -> None:
        self._subject = subject
        asked = [(s, False) for s in (REFERENCE, *OTHERS)]
        asked += [] if subject.penalty == "l2" else [(REFERENCE, True)]
        made = pool.starmap(measure_range, [(subject, *one) for one in asked])
        self._ranges = dict(zip(asked, made, strict=True))

    def list_jobs(self, seed: int) -> Iterator[Job]:
        """The trainings of a seed; some are named several times."""
        for setting in (REFERENCE, *OTHERS):
            for unit in UNITS:
                yield from self._list_grid(setting, unit, seed)

    def measure_carried(
        self, losses: Losses, seeds: int
    ) -> Iterator[tuple[Setting, list[float], float]]:
        """Of each other setting: the costs in each unit, and the spread of a seed's val/loss."""

        def rate(setting: Setting, unit: Unit) -> list[list[float]]:
            grids = [list(self._list_grid(setting, unit, seed)) for seed in range(seeds)]
            return [[losses[job] for job in jobs] for jobs in zip(*grids, strict=True)]

        for setting in OTHERS:
            costs, spread = [], 0.0
            for unit in UNITS:
                kept = _find_best(rate(REFERENCE, unit))
                there = rate(setting, unit)
                best = _find_best(there)
                costs.append(fmean(there[kept]) - fmean(there[best]))
                spread = spread or stdev(there[best])
            yield setting, costs, spread

    def _list_grid(self, setting: Setting, unit: Unit, seed: int) -> Iterator[Job]:
        # Decay by the learning rate, as before, is what l2 is today.
        before = unit.before and self._subject.penalty != "l2"
        ends = self._ranges[setting if unit.relative else REFERENCE, before]
        for lam in np.geomspace(*ends, _STEPS):
            yield Job(self._subject, setting, before, float(lam), seed)


def _find_best(losses: list[list[float]]) -> int:
    return int(np.argmin([fmean(one) for one in losses]))


@cache
def _open(name: str, samples: int) -> Splits:
    """The splits; of ``samples`` so many to train on, and at most as many to validate."""
    data = _load(name, "l1").data
    if not samples:
        return open_rows(data).divide()
    assert data is not None
    splits = open_rows(data.model_copy(update={"val": 0.5})).divide()
    assert isinstance(splits.train, Split)
    assert isinstance(splits.val, Split)
    return replace(splits, train=splits.train.head(samples), val=splits.val.head(samples))


def _change(subject: Subject, setting: Setting, before: bool) -> SweepSpec:
    spec = _load(subject.name, subject.penalty)
    epochs = round(spec.training.max_epochs * setting.longer)
    updates = _BEFORE if before else {}
    changes = {"max_epochs": epochs, "batch_size": setting.batch_size, **updates}
    return spec.model_copy(update={"training": spec.training.model_copy(update=changes)})


@cache
def _load(name: str, penalty: str) -> SweepSpec:
    space = {"penalty": penalty, "lambda": "auto"}
    if name in _TABLES:
        raw = {
            "name": name,
            "trainable": "trainables.models:MLP",
            "model": {"hidden": [64, 64]},
            "data": {"name": "function", "path": f"{_MODULE}:{_TABLES[name]}"},
            "training": {"max_epochs": 40},
            "confirm": "off",
            "space": space,
        }
        return parse_spec(raw, name, Path())
    spec = load_spec(_SWEEPS / f"{name}.yaml")
    parsed = parse_spec(
        {"name": name, "trainable": spec.trainable, "data": "digits", "space": space}, name, Path()
    )
    return spec.model_copy(update={"space": parsed.space})


def train_all(
    benches: Sequence[Bench], seeds: int, pool: Pool, until: float, record: Path | None
) -> tuple[Losses, int]:
    """All val/losses, and how many seeds are complete at the time ``until``."""
    losses: Losses = {}
    wanted = [{job for b in benches for job in b.list_jobs(seed)} for seed in range(seeds)]
    slow_first = [sorted(jobs, key=lambda job: job.setting.batch_size) for jobs in wanted]
    coming = pool.imap_unordered(_train_job, [job for jobs in slow_first for job in jobs])
    while len(losses) < sum(map(len, wanted)):
        try:
            job, loss = coming.next(max(0.0, until - time.monotonic()))
        except TimeoutError:
            break
        losses[job] = loss
        if record is not None:
            with record.open("a") as file:
                print(json.dumps([*map(str, astuple(job)), losses[job]]), file=file)
    complete = [jobs <= losses.keys() for jobs in wanted]
    return losses, complete.index(False) if False in complete else seeds


def _train_job(job: Job) -> tuple[Job, float]:
    return job, train_one(job)


def report(benches: Mapping[Subject, Bench], losses: Losses, seeds: int) -> Iterator[str]:
    """The table: a row for each setting."""
    for subject, bench in benches.items():
        for setting, costs, spread in bench.measure_carried(losses, seeds):
            shown = " | ".join(f"{cost / spread:.2f}" if spread else "–" for cost in costs)
            where = f"{setting.batch_size}, {setting.longer:g} × epochs"
            yield f"| {subject.name} | {subject.penalty} | {where} | {shown} |"


def _begin() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", choices=NAMES, nargs="+", default=list(NAMES))
    parser.add_argument("--penalties", nargs="+", default=["l1", "l2"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10**6)
    parser.add_argument("--record", type=Path, help="a file for each training's val/loss")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    subjects = [
        Subject(name, penalty, options.samples, options.device)
        for name in options.data
        for penalty in options.penalties
    ]
    with get_context("spawn").Pool(options.jobs, _begin) as pool:
        benches = {subject: Bench(subject, pool) for subject in subjects}
        losses, seeds = train_all([*benches.values()], options.seeds, pool, until, options.record)
    print(f"{len(losses)} trainings, {seeds} seeds are complete")
    if seeds > 1:
        print("| data | penalty | batch size, epochs | λ | λ before | multiple of the low end |")
        print("|---|---|---|---|---|---|")
        print(*report(benches, losses, seeds), sep="\n", flush=True)


if __name__ == "__main__":
    main()
