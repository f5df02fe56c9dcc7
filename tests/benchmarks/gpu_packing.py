"""What four trials that share a GPU train together, beside one that has it alone.

    python -m tests.benchmarks.gpu_packing

Real sweeps of the ready Fashion-MNIST CNN on random images of that size: one trial with
`gpus: 1`, then four at once with `gpus: 0.25`. Throughput is epochs a second over all trials,
while all of them run.
"""

from __future__ import annotations

import argparse

from torch import Tensor

from tests.benchmarks.epoch_cost import BATCH, splits, tensors
from tests.benchmarks.sweeps import Finished, sweep_of
from trainables.devices import get_device_name


def data() -> dict[str, tuple[Tensor, Tensor]]:
    """As large as Fashion-MNIST."""
    made = splits(54_000, 6_000)
    parts = {"train": made.train, "val": made.val}
    return {name: tensors(split) for name, split in parts.items()}


def packed(trials: int, epochs: int) -> Finished:
    """A sweep of so many trials at once."""
    spec = {
        "name": "packing",
        "trainable": "trainables.models:CNN",
        "data": f"{__spec__.name}:data",
        "training": {"max_epochs": epochs, "batch_size": BATCH, "schedule": "constant"},
        "space": {"lr": {"choice": [1e-3]}},
        "search": {"pruner": "none", "baseline": False},
        "early_stopping": None,
        "budget": {"trials": trials},
        "confirm": "off",
        "resources": {"cpus": 1, "gpus": 1 / trials, "concurrent": trials},
    }
    return sweep_of(spec)


def throughput(finished: Finished, trials: int) -> float:
    """Epochs a second from when the last trial has begun to when the first one ends."""
    each = [finished.epoch_times(number) for number in range(trials)]
    begin, end = max(times[0] for times in each), min(times[-1] for times in each)
    if end <= begin:
        raise SystemExit("the trials did not run at the same time; raise --epochs")
    return sum(begin < t <= end for times in each for t in times) / (end - begin)


def main() -> None:
    """Both, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    epochs = parser.parse_args().epochs
    alone = throughput(packed(1, epochs), 1)
    print(f"one {alone:.2f} epochs a second", flush=True)
    together = throughput(packed(4, epochs), 4)
    print(f"{get_device_name('cuda')}: one {alone:.2f}, four {together:.2f} epochs a second")
    print(f"{together / alone:.2f} ×")


if __name__ == "__main__":
    main()
