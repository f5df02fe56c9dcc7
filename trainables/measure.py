"""Metrics of a whole split, from the batches that each process measures of it.

A value for every sample is averaged over samples. Everything else is computed from the whole
split: a metric of part of it (AUROC, F1, a weighted mean) is another number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.distributed.process import Process
from trainables.errors import ContractError
from trainables.functions import Measured, MetricObject, Pooled, find_device

_COUNT = "count of samples"
_PAIR = "count of "


@torch.no_grad()
def measure(
    model: nn.Module,
    trainable: Trainable,
    batches: Iterable[Batch],
    process: Process | None = None,
) -> dict[str, float]:
    """``loss`` and the metrics of the samples of all processes; ``batches`` are this process's.

    Measured without dropout, augmentation and penalty. The model's mode is restored.

    Raises:
        ContractError: a metric has an invalid shape, or cannot be computed over processes.
    """
    process = process or Process()
    with _collect(model, trainable, batches, keep_each=False) as found:
        totals = process.sum(found.sums())
        samples = totals.pop(_COUNT)
        pairs = {n: totals.pop(_PAIR + n) for n in found.pairs}
        means = {n: total / pairs.get(n, samples) for n, total in totals.items()}
        return {**means, **_to_means(found.compute(process))}


@torch.no_grad()
def measure_each(
    model: nn.Module, trainable: Trainable, batches: Iterable[Batch]
) -> dict[str, NDArray[np.float64]]:
    """``loss`` and metrics of every sample, each ``(N,)``, in this process alone.

    A metric that has no value for each sample is one number, ``(1,)``.
    """
    with _collect(model, trainable, batches, keep_each=True) as found:
        pairs = {n: np.asarray([float(s) / c]) for n, (s, c) in found.pairs.items()}
        pooled = {n: np.atleast_1d(v) for n, v in found.compute(Process()).items()}
        return {**found.join_each(), **pairs, **pooled}


@dataclass
class _Found:
    """What was measured of this process's batches; the keys are names of metrics."""

    keep_each: bool
    count: int = 0
    totals: dict[str, Tensor] = field(default_factory=dict)
    each: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    pairs: dict[str, tuple[Tensor, float]] = field(default_factory=dict)
    pooled: dict[str, list[Pooled]] = field(default_factory=lambda: defaultdict(list))
    objects: dict[str, MetricObject] = field(default_factory=dict)

    def add(self, values: Mapping[str, Measured], samples: int) -> None:
        """Add what was measured of a batch."""
        self.count += samples
        for name, value in values.items():
            match value:
                case Tensor():
                    self._add_samples(name, value, samples)
                case (total, count):
                    self._add_pair(name, total, count)
                case Pooled():
                    self.pooled[name].append(value)
                case _:
                    self.objects[name] = value

    def _add_samples(self, name: str, value: Tensor, samples: int) -> None:
        if tuple(value.shape) != (samples,):
            raise ContractError(
                f"{name!r} has shape {tuple(value.shape)} for a batch of {samples}; it must be one "
                f"value per sample, ({samples},), or a pair (sum, count)"
            )
        if self.keep_each:
            self.each[name].append(value.double().cpu())
            return
        total = value.sum(dtype=torch.float64)
        self.totals[name] = self.totals[name] + total if name in self.totals else total

    def _add_pair(self, name: str, total: Any, count: Any) -> None:
        before, number = self.pairs.get(name, (torch.zeros((), dtype=torch.float64), 0.0))
        self.pairs[name] = before + torch.as_tensor(total).double().cpu(), number + float(count)

    def sums(self) -> dict[str, float]:
        """Everything that is a sum over samples, with what divides it."""
        totals = {name: float(total) for name, total in self.totals.items()}
        pairs = {name: float(total) for name, (total, _) in self.pairs.items()}
        counts = {_PAIR + name: count for name, (_, count) in self.pairs.items()}
        return {_COUNT: float(self.count), **totals, **pairs, **counts}

    def join_each(self) -> dict[str, NDArray[np.float64]]:
        """The values of all samples."""
        return {name: torch.cat(values).numpy() for name, values in self.each.items()}

    def compute(self, process: Process) -> dict[str, NDArray[np.float64]]:
        """The metrics of whole splits, ``(N,)`` or ``()``."""
        pooled = {n: _call_once(n, parts, process) for n, parts in self.pooled.items()}
        computed = [_compute(n, metric, process) for n, metric in self.objects.items()]
        return {**pooled, **{name: value for part in computed for name, value in part.items()}}


@contextmanager
def _collect(
    model: nn.Module, trainable: Trainable, batches: Iterable[Batch], *, keep_each: bool
) -> Iterator[_Found]:
    was_training, found = model.training, _Found(keep_each)
    model.eval()
    try:
        for batch in batches:
            found.add(trainable.evaluate(model, batch), len(batch))
        yield found
    finally:
        model.train(was_training)
        for metric in found.objects.values():
            metric.reset()


def _call_once(name: str, parts: Sequence[Pooled], process: Process) -> NDArray[np.float64]:
    device = find_device(parts[0].outputs)
    mine = [(part.outputs, part.targets) for part in parts]
    by_rank = process.gather(mine)
    batches = [b for row in zip_longest(*by_rank) for b in row if b is not None]
    outputs, targets = (_join(side, device) for side in zip(*batches, strict=True))
    value = torch.as_tensor(parts[0].function(outputs, targets)).double().cpu()
    if value.ndim > 1 or (value.ndim and len(value) != _count_rows(targets)):
        raise ContractError(
            f"{name!r} has shape {tuple(value.shape)} for {_count_rows(targets)} samples; it must "
            "be one value for each of them, or one of all"
        )
    return value.numpy()


def _join(batches: Sequence[Any], device: torch.device) -> Any:
    """One nest of all batches' tensors."""
    return pytree.tree_map(lambda *parts: torch.cat([p.to(device) for p in parts]), *batches)


def _count_rows(targets: Any) -> int:
    return len(pytree.tree_leaves(targets)[0])


def _compute(name: str, metric: MetricObject, process: Process) -> dict[str, NDArray[np.float64]]:
    """The value of a metric object, or its values by name if there are several."""
    _synchronise(name, metric, process.world > 1)
    found = metric.compute()
    values = {f"{name}_{k}": v for k, v in found.items()} if isinstance(found, Mapping) else None
    made = {k: torch.as_tensor(v).double().cpu() for k, v in (values or {name: found}).items()}
    for key, value in made.items():
        if value.numel() != 1:
            raise ContractError(
                f"{key!r} is {tuple(value.shape)} values; a metric is one number: average it, for "
                "example by `average: macro`"
            )
    return {key: value.reshape(()).numpy() for key, value in made.items()}


def _synchronise(name: str, metric: MetricObject, shared: bool) -> None:
    """Have a torchmetrics metric add up its state over all processes, or over none."""
    parts = list(metric.modules()) if isinstance(metric, nn.Module) else []
    knowing = [part for part in parts if hasattr(part, "sync_on_compute")]
    for part in knowing:
        part.__dict__["sync_on_compute"] = shared
    if shared and not knowing:
        raise ContractError(
            f"{name!r} cannot be computed over several workers: {type(metric).__name__} is not a "
            "torchmetrics metric; use one, or a function of outputs and targets"
        )


def _to_means(values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    return {name: float(np.mean(value)) for name, value in values.items()}
