"""What an epoch costs of trainings that share their steps, against the same trainings alone.

    python -m tests.benchmarks.fused [--rounds 7] [--only digits] [--device cuda --width 64]

CPU time of one thread, or on a GPU time on the wall, both sides in turns in one process. Each lane
has a penalty, a strength and a dropout rate of its own, of those that a sweep draws; none is
augmented. ``plain`` are lanes without a penalty. The first epoch, in which programs are made, is
counted apart. On a GPU the trainings alone are also compared with such that are compiled.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.placing import Placed, place
from trainables.data.splits import Split, Splits
from trainables.lanes.group import Group
from trainables.loop import TrainingRun, train
from trainables.models import CNN, MLP


@dataclass(frozen=True)
class Case:
    """Trainings of one network, and the ratio that is aimed at; 0 for none."""

    trainable: Callable[[], Trainable]
    batch_size: int
    width: int
    aim: float = 0.0
    plain: bool = False
    images: bool = False


CASES = {
    "digits, MLP 256-256": Case(lambda: MLP([256, 256]), 64, 16, 1.4),
    "digits, MLP 256-256, plain": Case(lambda: MLP([256, 256]), 64, 16, plain=True),
    "digits, MLP 64-64": Case(lambda: MLP([64, 64]), 32, 16, 3.0),
    "digits, MLP 64-64, plain": Case(lambda: MLP([64, 64]), 32, 16, plain=True),
    "28 × 28, MLP 256-256": Case(lambda: MLP([256, 256]), 128, 16, images=True),
    "28 × 28, CNN (32, 64)-128": Case(lambda: CNN(), 128, 4, images=True),
}


def digits() -> Splits:
    """The digits of scikit-learn, three fifths to train."""
    data = load_digits()
    x = (data.images / 16).astype(np.float32)[:, None]
    return divide(x, data.target.astype(np.int64), 1078, 359)


def images() -> Splits:
    """Random images: what an epoch costs does not depend on what they show."""
    rng = np.random.default_rng(0)
    x = rng.random((1280, 1, 28, 28), dtype=np.float32)
    return divide(x, rng.integers(0, 10, len(x)), 1024, 256)


def divide(x: Any, y: Any, train_size: int, val_size: int) -> Splits:
    """Splits of the first samples."""
    end = train_size + val_size
    info = DataInfo(x.shape[1:], Task.CLASSIFICATION, 10, Kind.IMAGE)
    return Splits(
        Split(x[:train_size], y[:train_size]),
        Split(x[train_size:end], y[train_size:end]),
        None,
        info,
    )


def draw_point(seed: int, *, plain: bool) -> dict[str, Any]:
    """A point of a usual space."""
    rng = random.Random(seed)
    dropout = {"dropout": rng.uniform(0, 0.5)}
    if plain:
        return dropout
    penalty = rng.choice(["l1", "l2", "elastic_net", "none"])
    return {"penalty": penalty, "lambda": 10 ** rng.uniform(-6, -3), **dropout}


def make(
    case: Case, splits: Splits, placed: Placed, seed: int, *, compiled: bool = False
) -> TrainingRun:
    """A training that ends after the benchmark."""
    training = Training(
        max_epochs=10**5,
        batch_size=case.batch_size,
        schedule="constant",
        seed=seed,
        compile=compiled,
    )
    reg = read_regularisers(draw_point(seed, plain=case.plain))
    device = placed.device
    return build_training(
        case.trainable(), splits, training, reg, None, device=device, placed=placed
    )


def seconds(work: Callable[[], object], device: str = "cpu") -> float:
    """CPU seconds of one call; those on the wall of a GPU."""
    if device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def compare_compiled(case: Case, rounds: int, device: str) -> float:
    """How many times as fast as a usual training alone a compiled one is."""
    splits = images() if case.images else digits()
    placed = place(splits, device)
    usual, compiled = (make(case, splits, placed, 1, compiled=on) for on in (False, True))
    for run in (usual, compiled):
        next(train(run))
    return statistics.median(
        seconds(lambda: next(train(usual)), device) / seconds(lambda: next(train(compiled)), device)
        for _ in range(rounds)
    )


def measure(case: Case, rounds: int, device: str) -> tuple[list[float], float]:
    """The ratios of each round, and the seconds of the first shared epoch."""
    splits = images() if case.images else digits()
    placed = place(splits, device)
    alone, shared = ([make(case, splits, placed, n) for n in range(case.width)] for _ in range(2))
    group = Group()
    for run in shared:
        group.take(run)
    first = seconds(group.advance, device)

    def train_alone() -> None:
        for run in alone:
            next(train(run))

    train_alone()
    ratios = [seconds(train_alone, device) / seconds(group.advance, device) for _ in range(rounds)]
    if group.reasons:
        raise SystemExit(f"not fused: {next(iter(group.reasons.values()))}")
    for one, other in zip(alone, shared, strict=True):
        if one.last_result != other.last_result:
            raise SystemExit("a lane has other results than the training alone")
    return ratios, first


def main() -> None:
    """The medians of the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="cases whose names contain this")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--width", type=int, help="lanes, instead of those of each case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, usual in CASES.items():
        if options.only not in name:
            continue
        case = replace(usual, width=options.width or usual.width)
        if options.device != "cpu":
            case = replace(case, aim=0.0)  # aims are those of CPUs
        ratios, first = measure(case, options.rounds, options.device)
        found = statistics.median(ratios)
        aim = f"; aim {case.aim}: {'met' if found >= case.aim else 'missed'}" if case.aim else ""
        print(
            f"{name}, batch {case.batch_size}, {case.width} lanes: {found:.2f} × "
            f"({min(ratios):.2f} to {max(ratios):.2f}){aim}; first epoch {first:.1f} s",
            flush=True,
        )
        if options.device != "cpu":
            gain = compare_compiled(case, options.rounds, options.device)
            print(f"    one that is compiled: {gain:.2f} × one alone", flush=True)


if __name__ == "__main__":
    main()
