"""Averages of the weights of a CNN with batch norm on the digits images, early stopping on.

    python -m tests.benchmarks.averaging [--seeds 20]

When SWA begins, at which rate, and whose statistics the batch norms of an average have: averages of
the running ones, or those that are computed anew. For every seed (of the split and the weights)
each variant is trained once, as a trial is; what counts is the test loss at the kept weights,
paired with the same training without an average. Published whatever it says.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from trainables.analysis.held_out import measure_held_out
from trainables.build import build_training
from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo, Task
from trainables.config.splitters import StratifiedSplit
from trainables.config.stopping import Patience
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.division import hold_out
from trainables.data.raw import Raw
from trainables.data.rows import DrawnRows
from trainables.data.splits import Splits
from trainables.data.splitters.base import Draw
from trainables.data.splitters.build import build_rule
from trainables.loop import TrainingRun, train
from trainables.regularisers.averaging import Averaging, LastEpochsAverage, build_averaging

PATIENCE = 6


class NormedCNN(Trainable):
    """Two blocks of convolution, batch norm, ReLU and pooling."""

    def build(self, info: DataInfo) -> nn.Module:
        layers: list[nn.Module] = []
        for width, channels in ((1, 16), (16, 32)):
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.BatchNorm2d(channels)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, info.outputs))


class ScheduledAverage(LastEpochsAverage):
    """SWA as it was: in the last epochs of ``max_epochs``, at the schedule's rate."""

    recomputes_norms = False

    def count_more_epochs(self, epoch: int) -> int:
        return 0

    def learning_rate(self, epoch: int, lr: float) -> float:
        return lr


class Scheduled(config.Averaging):
    """Its parameters."""

    implementation: ClassVar[str] = "tests.benchmarks.averaging:build_scheduled"


class Averaged(config.Averaging):
    """An average with averaged statistics."""

    implementation: ClassVar[str] = "tests.benchmarks.averaging:build_averaged"


class Recomputed(config.Averaging):
    """An average with statistics that are computed anew."""

    implementation: ClassVar[str] = "tests.benchmarks.averaging:build_recomputed"


def build_scheduled(options: config.Averaging) -> Averaging:
    return ScheduledAverage(options.swa)


def build_averaged(options: config.Averaging) -> Averaging:
    made = build_averaging(options)
    made.recomputes_norms = False
    return made


def build_recomputed(options: config.Averaging) -> Averaging:
    made = build_averaging(options)
    made.recomputes_norms = True
    return made


@dataclass(frozen=True)
class Variant:
    """An average, and the options of its trainings that are not the others'."""

    average: config.Averaging | None = None
    training: Mapping[str, Any] = field(default_factory=dict)


def _list_variants() -> dict[str, Variant]:
    swa = Recomputed(swa=0.25)
    found = {
        "none": Variant(),
        "SWA as it was": Variant(Scheduled(swa=0.25)),
        "SWA, averaged statistics": Variant(Averaged(swa=0.25)),
    }
    for rate in (0.1, 0.25, 0.5, 1.0):
        found[f"SWA, rate {rate:g}"] = Variant(swa, {"swa_lr_share": rate})
    found["SWA, rate 1, cycle of 2"] = Variant(swa, {"swa_lr_share": 1.0, "swa_cycle": 2})
    for decay in (0.9, 0.99, 0.999):
        found[f"EMA {decay:g}, averaged"] = Variant(Averaged(ema=decay))
        found[f"EMA {decay:g}, recomputed"] = Variant(Recomputed(ema=decay))
    return found


VARIANTS = _list_variants()
SCHEDULES = ("cosine", "constant")


def splits(seed: int) -> Splits:
    """60, 20 and 20 % of the digits, by the seed."""
    digits = load_digits()
    raw = Raw(digits.images[:, None].astype(np.float32) / 16, digits.target)
    task = Task.CLASSIFICATION
    splitter = build_rule(StratifiedSplit()).splitter
    stay, held = hold_out(splitter, raw, task, 0.2, Draw(seed))
    return DrawnRows(raw.rows(stay), raw.rows(held), splitter, 0.25, seed, task).divide()


def trained(job: tuple[str, str, int, int]) -> tuple[float, float, int, bool]:
    """Test loss, test accuracy, epochs that ran, and whether the average is what was kept."""
    schedule, name, seed, most = job
    torch.set_num_threads(1)
    data, variant = splits(seed), VARIANTS[name]
    options = {"max_epochs": most, "lr": 3e-3, "seed": seed, "schedule": schedule}
    run = build_training(
        NormedCNN(),
        data,
        Training(**{**options, **variant.training}),
        () if variant.average is None else (variant.average,),
        Patience(patience=PATIENCE),
    )
    epochs = 0
    for result in train(run):
        epochs = result.epoch
    found = measure_held_out(run, data, run.best_state).metrics
    return found["test/loss"], found["test/accuracy"], epochs, _keeps_average(run)


def _keeps_average(run: TrainingRun) -> bool:
    kept = int(run.best_metrics()["epoch"])
    averages = [r for r in run.parts.regularisers.all if isinstance(r, Averaging)]
    return any(kept >= getattr(average, "_first", 1) for average in averages)


def main() -> None:
    """A row for every schedule and variant, with the paired difference from no average."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--only", default="", help="variants with this in their names, and none")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    seeds, only = range(options.seeds), options.only
    print(
        "| schedule | average | test loss | difference ± SE | to averaged statistics | "
        "test accuracy | epochs | kept |"
    )
    with get_context("spawn").Pool(options.processes) as pool:
        for schedule in SCHEDULES:
            losses: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
            for name in ("none", *(n for n in VARIANTS if n != "none" and only in n)):
                jobs = [(schedule, name, seed, options.epochs) for seed in seeds]
                rows = np.asarray(pool.map(trained, jobs, chunksize=1), dtype=float)
                losses[name] = rows[:, 0]
                means, kind = rows.mean(0), name.replace(", recomputed", ", averaged")
                against = losses.get(kind) if kind != name else losses.get(_AVERAGED.get(name, ""))
                print(
                    f"| {schedule} | {name} | {means[0]:.4f} | "
                    f"{_compare(rows[:, 0], losses['none'])} | {_compare(rows[:, 0], against)} | "
                    f"{means[1]:.4f} | {means[2]:.1f} | {means[3]:.0%} |",
                    flush=True,
                )


_AVERAGED = {"SWA, rate 0.5": "SWA, averaged statistics"}


def _compare(
    losses: np.ndarray[Any, np.dtype[np.float64]],
    others: np.ndarray[Any, np.dtype[np.float64]] | None,
) -> str:
    """The mean of paired differences and its standard error."""
    if others is None:
        return ""
    differences = losses - others
    error = differences.std(ddof=1) / len(differences) ** 0.5
    return f"{differences.mean():+.5f} ± {error:.5f}"


if __name__ == "__main__":
    main()
