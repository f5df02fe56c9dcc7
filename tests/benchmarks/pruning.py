"""What pruning saves of the demo sweep, and what it costs: the same sweep with and without.

python -m tests.benchmarks.pruning
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from tests.benchmarks.sweeps import DIGITS, sweep


def main() -> None:
    """Both sweeps for every seed, a line each, then what they amount to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pruner", help="instead of the demo's own")
    options = parser.parse_args()
    saved, differences, unpruned = [], [], []
    print("seed  epochs  without  saved     best  without", flush=True)
    for seed in range(options.seeds):
        seeds = [f"{part}.seed={seed}" for part in ("search", "training", "data")]
        own = [f"search.pruner={options.pruner}"] if options.pruner else []
        with tempfile.TemporaryDirectory() as home:
            pruned = sweep(DIGITS, Path(home), [*seeds, *own])
            whole = sweep(DIGITS, Path(home), [*seeds, "search.pruner=none"])
        saved.append(1 - pruned.epochs / whole.epochs)
        differences.append(pruned.best_value - whole.best_value)
        unpruned.append(whole.best_value)
        print(
            f"{seed:4d}  {pruned.epochs:6d}  {whole.epochs:7d}  {saved[-1]:5.0%}"
            f"  {pruned.best_value:7.4f}  {whole.best_value:7.4f}",
            flush=True,
        )
    error = statistics.stdev(differences) / len(differences) ** 0.5
    print(
        f"saved {statistics.mean(saved):.0%} of the epochs (least {min(saved):.0%}); "
        f"best val/loss {statistics.mean(differences):+.4f} ± {error:.4f} (standard error), "
        f"the seeds themselves differ by {statistics.stdev(unpruned):.4f} (standard deviation)"
    )


if __name__ == "__main__":
    main()
