"""What logging to MLflow costs a sweep: the demo with it and without it, in turn.

python -m tests.benchmarks.mlflow_cost
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.sweeps import DIGITS, sweep

# no pruning, one trial at a time: both sweeps then train exactly the same epochs
SAME_WORK = ("search.pruner=none", "resources.concurrent=1")


def seconds(trials: int, uri: str) -> float:
    """The whole command's wall time."""
    with tempfile.TemporaryDirectory() as home:
        env = {"GAPSWEEP_MLFLOW_URI": uri}
        start = time.monotonic()
        sweep(DIGITS, Path(home), [*SAME_WORK, f"budget.trials={trials}"], env)
        return time.monotonic() - start


def main() -> None:
    """A pair a line, each in the other order than the one before, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    ratios = []
    for pair in range(options.pairs):
        order = ("", "off") if pair % 2 == 0 else ("off", "")
        wall = {uri: seconds(options.trials, uri) for uri in order}
        ratios.append(wall[""] / wall["off"])
        print(f"on {wall['']:.1f} s, off {wall['off']:.1f} s, ratio {ratios[-1]:.3f}", flush=True)
    print(f"median {statistics.median(ratios) - 1:+.1%}, of {options.pairs} pairs")


if __name__ == "__main__":
    main()
