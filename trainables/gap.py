"""The generalisation gap, with both sides measured at the same weights in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.contract import Trainable
from trainables.distributed.process import Process

MEASURED_AT_ONCE = 256
_COUNT = "count of samples"


@torch.no_grad()
def measure(
    model: nn.Module,
    trainable: Trainable,
    batches: Iterable[tuple[Tensor, Tensor]],
    process: Process | None = None,
) -> dict[str, float]:
    """``loss`` and metrics averaged over samples; exact if each sample has a value of its own.

    Measured without dropout, augmentation and penalty. The model's mode is restored. ``batches``
    are those of this process; the result covers all processes.
    """
    was_training = model.training
    model.eval()
    sums: dict[str, Tensor] = {}
    count = 0
    for x, y in batches:
        count += len(y)
        for name, value in trainable.evaluate(model(x), y).items():
            total = value.sum(dtype=torch.float64) if value.ndim else value.double() * len(y)
            sums[name] = sums[name] + total if name in sums else total
    model.train(was_training)
    own = {_COUNT: float(count), **{name: float(total) for name, total in sums.items()}}
    totals = (process or Process()).sum(own)
    samples = totals.pop(_COUNT)
    return {name: total / samples for name, total in totals.items()}


@torch.no_grad()
def measure_each(
    model: nn.Module, trainable: Trainable, batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, NDArray[np.float64]]:
    """``loss`` and metrics of every sample, each ``(N,)``, in this process alone.

    A metric that the trainable gives as the mean of a batch has that value for each of its
    samples in :func:`measure`; here it is one value, ``(1,)``.
    """
    was_training = model.training
    model.eval()
    each: dict[str, list[Tensor]] = {}
    counts: list[int] = []
    for x, y in batches:
        counts.append(len(y))
        for name, value in trainable.evaluate(model(x), y).items():
            each.setdefault(name, []).append(value.double().cpu())
    model.train(was_training)
    return {name: _join(values, counts) for name, values in each.items()}


def _join(values: Sequence[Tensor], counts: Sequence[int]) -> NDArray[np.float64]:
    if values[0].ndim:
        return torch.cat(list(values)).numpy()
    return np.asarray([np.average([float(v) for v in values], weights=counts)])


def compute_gaps(
    train: Mapping[str, float], held_out: Mapping[str, float], better_high: Callable[[str], bool]
) -> dict[str, float]:
    """By how much the training side is better; positive values mean overfitting."""
    signs = {name: 1.0 if better_high(name) else -1.0 for name in train}
    return {name: signs[name] * (train[name] - held_out[name]) for name in train}


def choose_train_subset(train_size: int, val_size: int, seed: int) -> Tensor:
    """Indices of the fixed training subset that is measured, as large as the validation split."""
    chosen = np.random.default_rng(seed).permutation(train_size)[: min(train_size, val_size)]
    return torch.from_numpy(np.sort(chosen))
