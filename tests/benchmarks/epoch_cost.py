"""What an epoch costs here beside a minimal loop written by hand, and what measuring the gap adds.

    python -m tests.benchmarks.epoch_cost [--device cuda] [--workers 0 | 1 | …]

Every regulariser is off. Random images of Fashion-MNIST's size, in memory (the time does not
depend on what they show); both sides take turns. With `--workers` both sides read a ``Dataset``
that gives one image at a time, by a ``DataLoader`` of so many workers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.lazy import LazySplit, Loading
from trainables.data.splits import AnySplit, Split, Splits
from trainables.loop import TrainingRun, measure_samples, train
from trainables.models import CNN, MLP

INFO = DataInfo((1, 28, 28), Task.CLASSIFICATION, 10, Kind.IMAGE)
BATCH = 128


def splits(train_size: int, val_size: int) -> Splits:
    """Random images: what an epoch costs does not depend on what they show."""
    rng = np.random.default_rng(0)

    def part(size: int) -> Split:
        return Split(rng.random((size, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, size))

    return Splits(part(train_size), part(val_size), None, INFO)


class Images(Dataset[tuple[Tensor, Tensor]]):
    """One image at a time."""

    def __init__(self, split: Split) -> None:
        self._x, self._y = torch.from_numpy(split.x), torch.from_numpy(split.y)

    def __len__(self) -> int:
        return len(self._y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._x[index], self._y[index]


def make_lazy(data: Splits, workers: int) -> Splits:
    """The same images, read one at a time."""
    loading = Loading(workers=workers)
    train, val = (
        LazySplit(name, "the benchmark", Images(split), loading)
        for name, split in data.list_arrays()
    )
    return Splits(train, val, None, INFO)


def by_hand_lazily(trainable: Trainable, data: Splits, device: str) -> Callable[[], None]:
    """An epoch of the same loop over a loader, whose workers stay."""
    assert isinstance(data.train, LazySplit)
    model = trainable.build(INFO).to(device)
    workers = data.train.loading.workers
    loader = DataLoader(
        data.train.dataset, BATCH, True, num_workers=workers, persistent_workers=workers > 0
    )
    model(next(iter(loader))[0].to(device))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def epoch() -> None:
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x.to(device)), y.to(device))
            torch.autograd.backward(loss)
            optimizer.step()

    return epoch


def tensors(split: AnySplit) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a split that is in memory."""
    assert isinstance(split, Split)
    return torch.from_numpy(split.x), torch.from_numpy(split.y)


def by_hand(trainable: Trainable, data: Splits, device: str) -> Callable[[], None]:
    """An epoch of the loop that everybody writes."""
    if not isinstance(data.train, Split):
        return by_hand_lazily(trainable, data, device)
    model = trainable.build(INFO).to(device)
    x = torch.from_numpy(data.train.x).to(device)
    y = torch.from_numpy(data.train.y).to(device)
    model(x[:2])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def epoch() -> None:
        model.train()
        for batch in torch.split(torch.randperm(len(x)).to(device), BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(model(x[batch]), y[batch]))
            optimizer.step()

    return epoch


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """The medians of both ratios for both networks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--train", type=int, default=54000)
    parser.add_argument("--val", type=int, default=6000)
    parser.add_argument("--workers", type=int, help="read a Dataset; default: arrays")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, device = splits(options.train, options.val), options.device
    data = data if options.workers is None else make_lazy(data, options.workers)
    for name, trainable in (("MLP", MLP()), ("CNN", CNN())):
        epoch = by_hand(trainable, data, device)
        training = Training(max_epochs=10**5, batch_size=BATCH, schedule="constant")
        run = build_training(trainable, data, training, (), None, device=device)
        ours = train(run)
        epoch(), next(ours)
        ratios, shares = [], []
        for _ in range(options.rounds):
            hand = timed(epoch, device)
            whole = timed(partial(next, ours), device)
            gap = timed(partial(_measure_both, run), device)
            ratios.append((whole - gap) / hand)
            shares.append(gap / (whole - gap))
        print(
            f"{name}: an epoch {statistics.median(ratios):.3f} × the loop by hand, "
            f"the gap's measurement {statistics.median(shares):.1%} on top",
            flush=True,
        )


def _measure_both(run: TrainingRun) -> None:
    measure_samples(run, run.model, run.data.val)
    measure_samples(run, run.model, run.data.measured, run.parts.subset)


if __name__ == "__main__":
    main()
