"""What a sweep costs beside the training: 100 trials of 10 epochs that take no time, 2 slots.

    python -m tests.benchmarks.overhead
    python -m tests.benchmarks.overhead --client 3   # rounds in turns with MLflow's client

Ours is the whole command: the study in its journal, a checkpoint an epoch, MLflow on. The stock
recipe is what one finds in the tutorials: a function trainable, OptunaSearch, ASHAScheduler,
MLflowLoggerCallback, everything else as it comes. In both, halving could stop a trial only after
its last epoch. Both are timed from the first epoch reported, when the first worker processes have
started, to the last trial's end, one after the other in one run.

A new home has no database of MLflow yet: its tables, and the import of MLflow, take seconds of the
first trials once. What each further trial costs is the difference between two sweeps, of as many
and of three times as many trials. That has the training in it: the same epochs in a loop by hand,
on both slots at once, are the part that is no overhead.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import yaml
from torch import nn
from torch.nn.functional import cross_entropy

from tests.benchmarks.sweeps import sweep

EPOCHS, SLOTS = 10, 2
COMMAND, BY_CLIENT = "service.cli", "tests.benchmarks.written_by_client"
USERS_FILE = """
import torch
from torch import nn

def network(input_shape, outputs):
    return nn.Linear(input_shape[0], outputs)

def splits():
    x = torch.eye(8)
    y = torch.tensor([0, 1] * 4)
    return {"train": (x, y), "val": (2 * x, y)}
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of a sweep, and the CPU seconds of the command and of its processes."""

    seconds: float
    cpu: float


def ours(trials: int, folder: Path, program: str = COMMAND) -> Cost:
    """What the command takes in a home of its own."""
    (folder / "nothing.py").write_text(USERS_FILE)
    spec = {
        "name": "nothing",
        "trainable": "nothing:network",
        "data": "nothing:splits",
        "training": {"max_epochs": EPOCHS, "lr": 1e-3},
        "early_stopping": None,
        "space": {"lr": {"float": [1e-4, 1e-1], "log": True}},
        "search": {"pruner": {"name": "successive_halving", "min_epochs": EPOCHS}},
        "budget": {"trials": trials},
        "confirm": "off",
        "resources": {"concurrent": SLOTS},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    before = os.times()
    seconds = sweep(folder / "spec.yaml", folder / "home", program=program).seconds
    after = os.times()
    cpu = after.children_user + after.children_system
    return Cost(seconds, cpu - before.children_user - before.children_system)


def stock(trials: int, folder: Path) -> float:
    """Seconds a trial of the recipe's, in a process of its own."""
    words = [sys.executable, "-m", "tests.benchmarks.stock_recipe", str(trials), str(EPOCHS)]
    done = subprocess.run([*words, str(folder)], stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"]) / trials


def train_by_hand(x: torch.Tensor, y: torch.Tensor) -> None:
    """The training of a trial: a step an epoch, loss and accuracy of both splits after it."""
    network = nn.Linear(x.shape[1], 2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(network(x), y))
        optimizer.step()
        with torch.no_grad():
            for outputs in (network(x), network(2 * x)):
                cross_entropy(outputs, y).item()
                (outputs.argmax(1) == y).float().mean().item()


def by_hand(trials: int) -> float:
    """Seconds of CPU time of such a training, on one thread."""
    torch.set_num_threads(1)
    x, y = torch.eye(8), torch.tensor([0, 1] * 4)
    train_by_hand(x, y)
    before = time.process_time()
    for _ in range(trials):
        train_by_hand(x, y)
    return (time.process_time() - before) / trials


def measure(trials: int, program: str = COMMAND) -> Cost:
    """What the command takes in a new home."""
    with tempfile.TemporaryDirectory() as name:
        return ours(trials, Path(name), program)


def compare_writers(trials: int, rounds: int) -> None:
    """Our rows in MLflow's database against its client's, in turns."""
    costs: dict[str, list[Cost]] = {COMMAND: [], BY_CLIENT: []}
    for _ in range(rounds):
        for program, found in costs.items():
            found.append(measure(trials, program))
    for program, words in ((COMMAND, "rows of ours"), (BY_CLIENT, "MLflow's client")):
        seconds = [cost.seconds / trials for cost in costs[program]]
        cpu = [1000 * cost.cpu / trials for cost in costs[program]]
        print(
            f"{words}: {median(seconds):.3f} s a trial ({min(seconds):.3f} to {max(seconds):.3f}), "
            f"{median(cpu):.0f} ms of CPU time ({min(cpu):.0f} to {max(cpu):.0f}), start included"
        )


def main() -> None:
    """Both, and their ratio; or only the two ways to write to MLflow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--client", type=int, metavar="ROUNDS", help="compare with MLflow's client")
    options = parser.parse_args()
    trials: int = options.trials
    if options.client:
        compare_writers(trials, options.client)
        return
    few, many = (measure(count) for count in (trials, 3 * trials))
    seconds = few.seconds / trials
    print(f"gapsweep  {seconds:.3f} s a trial, in a new home", flush=True)
    more, cpu = (many.seconds - few.seconds, many.cpu - few.cpu)
    each, training = more / trials / 2, by_hand(trials) / SLOTS
    print(f"further trials  {each:.4f} s each", flush=True)
    print(f"beside a training by hand, of {training:.4f} s  {each - training:.4f} s", flush=True)
    print(f"of all its processes  {1000 * cpu / trials / 2:.1f} ms of CPU time", flush=True)
    with tempfile.TemporaryDirectory() as name:
        recipe = stock(trials, Path(name))
    print(f"stock     {recipe:.3f} s a trial, {recipe / seconds:.1f} × as long")


if __name__ == "__main__":
    main()
