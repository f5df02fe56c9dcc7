"""What a trial of two workers costs beside the same training under torchrun; a slot's starts.

    python -m tests.benchmarks.ddp_cost

Images of 28 × 28 in memory (the time does not depend on what they show). Both sides train with a
batch of 128 on two processes of one thread, and after every epoch measure the validation split and
as many training samples, each process its part. Ours is the whole command, MLflow on, a checkpoint
an epoch; both sides' processes have the same priority (Ray would give its own a lower one, which
RAY_worker_niceness sets). Epochs are timed from the end of the first to the end of the last; the
sides take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.benchmarks.epoch_cost import INFO
from tests.benchmarks.sweeps import Finished, sweep_of
from trainables.models import CNN, MLP

BATCH, WORKERS, TRAIN, VAL = 128, 2, 6_400, 640
NETWORKS = {"MLP": MLP, "CNN": CNN}


def data() -> dict[str, tuple[Tensor, Tensor]]:
    """Random images with labels, the same for both sides."""
    rng = np.random.default_rng(0)

    def part(size: int) -> tuple[Tensor, Tensor]:
        images = rng.random((size, *INFO.input_shape), dtype=np.float32)
        return torch.from_numpy(images), torch.from_numpy(rng.integers(0, 10, size))

    return {"train": part(TRAIN), "val": part(VAL)}


def by_hand(name: str, epochs: int) -> None:
    """One process of torchrun's: the loop that everybody writes. Prints every epoch's seconds."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    (x, y), val = data()["train"], data()["val"]
    torch.manual_seed(0)
    network = NETWORKS[name]().build(INFO)
    network(x[:2])
    model = DistributedDataParallel(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        model.train()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for batch in torch.split(torch.randperm(len(x)), BATCH):
            own = batch[rank::WORKERS]
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(model(x[own]), y[own]))
            optimizer.step()
        for inputs, targets in (val, (x[:VAL], y[:VAL])):
            measure_by_hand(network, inputs[rank::WORKERS], targets[rank::WORKERS])
        seconds.append(time.perf_counter() - start)
    if rank == 0:
        print(*seconds[1:], flush=True)
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # torch aborts now and then when the interpreter ends (pytorch #179291)


@torch.no_grad()
def measure_by_hand(network: nn.Module, x: Tensor, y: Tensor) -> None:
    """Loss and accuracy over all processes."""
    network.eval()
    totals = torch.zeros(3, dtype=torch.float64)
    for inputs, targets in zip(torch.split(x, 256), torch.split(y, 256), strict=True):
        outputs = network(inputs)
        loss = nn.functional.cross_entropy(outputs, targets, reduction="sum")
        right = (outputs.argmax(1) == targets).sum()
        totals += torch.tensor([float(loss), float(right), len(targets)])
    dist.all_reduce(totals)


def torchrun(name: str, epochs: int) -> float:
    """The median seconds of an epoch by hand."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words += [f"--nproc-per-node={WORKERS}", "-m", __spec__.name, "--by-hand", name]
    done = subprocess.run(
        [*words, "--epochs", str(epochs)], stdout=subprocess.PIPE, text=True, check=True
    )
    return statistics.median(float(s) for s in done.stdout.split())


def ours(name: str, epochs: int, trials: int) -> Finished:
    """A sweep whose trials are that training."""
    spec = {
        "name": "cost",
        "trainable": f"trainables.models:{name}",
        "data": f"{__spec__.name}:data",
        "training": {"max_epochs": epochs, "batch_size": BATCH, "schedule": "constant"},
        "space": {"lr": {"choice": [1e-3]}},
        "search": {"pruner": "none", "baseline": False},
        "early_stopping": None,
        "budget": {"trials": trials},
        "confirm": "off",
        "resources": {"workers": WORKERS, "concurrent": 1},
    }
    return sweep_of(spec, env={"RAY_worker_niceness": "0"})


def epoch_seconds(finished: Finished, trial: int) -> float:
    """The median of a trial's epochs but the first."""
    return statistics.median(np.diff(finished.epoch_times(trial)))


def starts(finished: Finished) -> list[float]:
    """Seconds from each trial's hand-out to its first epoch's begin."""
    found = []
    for trial in finished.trials:
        first = finished.epoch_times(trial.number)[0] - epoch_seconds(finished, trial.number)
        assert trial.datetime_start is not None
        found.append(first - trial.datetime_start.timestamp())
    return found


def main() -> None:
    """The ratio of the epochs, round by round, and the starts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--by-hand", choices=NETWORKS)
    options = parser.parse_args()
    if options.by_hand:
        by_hand(options.by_hand, options.epochs)
        return
    for name in NETWORKS:
        ratios, firsts, later = [], [], []
        for _ in range(options.rounds):
            hand = torchrun(name, options.epochs)
            finished = ours(name, options.epochs, trials=3)
            seconds = statistics.median(epoch_seconds(finished, n) for n in range(3))
            ratios.append(seconds / hand)
            first, *rest = starts(finished)
            firsts.append(first)
            later += rest
            print(f"{name}: {seconds:.3f} s an epoch, by hand {hand:.3f} s", flush=True)
        print(
            f"{name}: {statistics.median(ratios):.2f} × torchrun's epoch "
            f"({min(ratios):.2f} to {max(ratios):.2f}); a slot's first trial starts after "
            f"{statistics.median(firsts):.1f} s, each later one after "
            f"{statistics.median(later):.2f} s (at most {max(later):.2f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
