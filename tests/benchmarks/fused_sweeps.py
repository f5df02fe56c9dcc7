"""What the ready sweeps cost with `fuse: auto` against `fuse: off`.

    python -m tests.benchmarks.fused_sweeps [--rounds 3] [--only digits]

For each spec of `search_spaces/sweeps`, first what `auto` decides for the spec as it is, and the
CPU time in which it does. Then whole sweeps of fewer trials and epochs, both ways in turns, without
Ray and MLflow, in one process and one thread: CPU time from the spec to the report, `off` divided
by `auto`, which must not be below 0.97. The last cases are sweeps that are long enough to
measure what sharing gains; they are only planned.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import gapsweep
import torch

from service.run.lane_plan import plan_lanes
from service.run.preflight import run_preflight
from service.spec.file import load_spec
from service.spec.model import SweepSpec

SWEEPS = Path(__file__).parents[2] / "search_spaces" / "sweeps"
AIM = 0.97
_SMALL = ("budget.trials=6", "training.max_epochs=4", "confirm=off", "search.pruner=none")
SMALLER = {
    "breast_cancer": _SMALL,
    "digits": _SMALL,
    "fashion": (
        "budget.trials=2",
        "training.max_epochs=1",
        "training.steps_per_epoch=10",
        "confirm=off",
        "search.enqueue=[]",
    ),
}
_TINY = ("model.hidden=[64,64]", "training.batch_size=32", "budget.minutes=null")
LONGER = [(*_TINY, f"budget.trials={trials}") for trials in (500, 5000)]
"""Sweeps that are just long enough, and much longer."""


def read(name: str, fuse: str, changes: Sequence[str] = ()) -> SweepSpec:
    """A ready spec for a sweep in this process."""
    here = ("resources.executor=local", "resources.concurrent=1", f"resources.fuse={fuse}")
    return load_spec(SWEEPS / f"{name}.yaml", [*here, *changes])


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def describe_plan(name: str, changes: Sequence[str] = ()) -> None:
    """Say what `auto` decides, and in which time."""
    spec = read(name, "auto", changes)
    found, words = run_preflight(spec, name), []
    took = seconds(lambda: words.append(plan_lanes(spec, name, found, 1).words))
    print(f"{', '.join([name, *changes])}: {took:.2f} s of CPU: {words[0]}", flush=True)


def sweep(name: str, fuse: str) -> None:
    """A whole sweep of a few trials."""
    with tempfile.TemporaryDirectory() as home:
        gapsweep.run(read(name, fuse, SMALLER[name]), home=home, progress=False)


def compare(name: str) -> float:
    """The CPU time of two sweeps with `off` divided by that of two with `auto`.

    They take turns as `off`, `auto`, `auto`, `off`: later sweeps of a process may take longer.
    """
    took = {"off": 0.0, "auto": 0.0}
    for fuse in ("off", "auto", "auto", "off"):
        took[fuse] += seconds(partial(sweep, name, fuse))
    return took["off"] / took["auto"]


def main() -> None:
    """The plans, and the medians of the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="sweeps whose names contain this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["GAPSWEEP_MLFLOW_URI"] = "off"
    names = [path.stem for path in sorted(SWEEPS.glob("*.yaml")) if options.only in path.stem]
    for name in names:
        describe_plan(name)
        sweep(name, "off")  # imports
        ratios = [compare(name) for _ in range(options.rounds)]
        found = statistics.median(ratios)
        print(
            f"  {', '.join(SMALLER[name])}: {found:.2f} × ({min(ratios):.2f} to {max(ratios):.2f}),"
            f" aim {AIM}: {'met' if found >= AIM else 'missed'}",
            flush=True,
        )
    if "digits" in names:
        for changes in LONGER:
            describe_plan("digits", changes)


if __name__ == "__main__":
    main()
