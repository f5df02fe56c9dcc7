"""Epochs a second of the ready Fashion-MNIST CNN on a GPU, beside the usual loop with a DataLoader.

    python -m tests.benchmarks.gpu_speed

The usual loop: a TensorDataset, a DataLoader with four worker processes and pinned memory, batches
copied as they come. Ours: the data on the device, both sides of the gap measured after every
epoch, once in fp32 and once in bf16. Random images of Fashion-MNIST's size; the sides take turns.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.epoch_cost import BATCH, INFO, splits, tensors, timed
from trainables.build import build_training
from trainables.config.precision import Precision
from trainables.config.training import Training
from trainables.data.splits import Splits
from trainables.devices import get_device_name
from trainables.loop import train
from trainables.models import CNN


def usual(data: Splits, device: str) -> Callable[[], None]:
    """An epoch with a DataLoader."""
    model = CNN().build(INFO)
    model(torch.zeros(2, *INFO.input_shape))
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    samples = TensorDataset(*tensors(data.train))
    loader = DataLoader(
        samples, BATCH, shuffle=True, num_workers=4, pin_memory=True, persistent_workers=True
    )

    def epoch() -> None:
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            outputs = model(x.to(device, non_blocking=True))
            torch.autograd.backward(
                nn.functional.cross_entropy(outputs, y.to(device, non_blocking=True))
            )
            optimizer.step()

    return epoch


def ours(data: Splits, device: str, precision: Precision) -> Callable[[], object]:
    """An epoch of the loop's."""
    training = Training(
        max_epochs=10**5, batch_size=BATCH, schedule="constant", precision=precision
    )
    run = build_training(CNN(), data, training, (), None, device=device)
    return partial(next, train(run))


def main() -> None:
    """The medians of the rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--train", type=int, default=54000)
    parser.add_argument("--val", type=int, default=6000)
    options = parser.parse_args()
    data, device = splits(options.train, options.val), options.device
    sides = {
        "DataLoader": usual(data, device),
        "fp32": ours(data, device, "fp32"),
        "bf16": ours(data, device, "bf16"),
    }
    for epoch in sides.values():
        epoch()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, epoch in sides.items():
            seconds[name].append(timed(epoch, device))
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    print(get_device_name(device))
    for name, median in medians.items():
        times = medians["DataLoader"] / median
        print(f"{name:10s}  {1 / median:6.2f} epochs a second  {times:5.2f} ×")


if __name__ == "__main__":
    main()
