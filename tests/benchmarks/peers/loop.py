"""The training loop of all systems, which is gapsweep's own, and the records of its epochs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.peers.problems import METRIC, PROBLEMS
from tests.benchmarks.peers.space import Params, read_point
from trainables.build import build_run
from trainables.loop import train


@dataclass(frozen=True)
class Epoch:
    """An epoch of a trial: when it ended, in seconds since 1970, and its val/loss."""

    time: float
    trial: str
    epoch: int
    loss: float
    params: Params


def train_trial(
    problem: str, drawn: Mapping[str, Any], seed: int, trial: str, folder: Path
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train a point that a peer drew: the number and the metrics of every epoch."""
    torch.set_num_threads(1)
    spec, point = PROBLEMS[problem].spec, read_point(drawn)
    splits = PROBLEMS[problem].rows.divide()
    params = {**spec.neutral_point(), **point}
    run = build_run(spec, params, splits, baseline=False, device="cpu", seed=seed)
    for result in train(run):
        metrics = dict(result.metrics)
        write_epoch(folder, Epoch(time.time(), trial, result.epoch, metrics[METRIC], point))
        yield result.epoch, metrics


def write_epoch(folder: Path, epoch: Epoch) -> None:
    """Append an epoch to this process's own file."""
    with (folder / f"epochs-{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(epoch)) + "\n")


def read_epochs(folder: Path) -> list[Epoch]:
    """All epochs that the processes of a system wrote, by time."""
    lines = (
        line
        for path in folder.glob("epochs-*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    return sorted((Epoch(**json.loads(line)) for line in lines), key=lambda epoch: epoch.time)
