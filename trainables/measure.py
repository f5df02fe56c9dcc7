"""Metrics of a whole split, from the batches that each process measures of it.

A value for every sample is averaged over samples. Everything else is computed from the whole
split: a metric of part of it (AUROC, F1, a weighted mean) is another number.
"""

from __future__ import annotations

import math
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

from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.nests import count_samples, map_nest
from trainables.distributed.process import Process
from trainables.errors import ContractError, blame, locate
from trainables.functions import Measured, MetricObject, Pooled, find_device
from trainables.return_checks import check_named, describe_returned, read_number, read_values

_COUNT = "count of samples"
_PAIR = "count of "


@torch.no_grad()
def measure(
    model: nn.Module,
    trainable: Trainable,
    batches: Iterable[Batch],
    process: Process | None = None,
    made: Iterable[Any] | None = None,
) -> dict[str, float]:
    """``loss`` and the metrics of the samples of all processes; ``batches`` are this process's.

    Measured without dropout, augmentation and penalty. The model's mode is restored. ``made`` is
    what the network made of each batch, where that is known.

    Raises:
        ContractError: a loss or metric fails, is no metric, or cannot be computed over processes.
    """
    process = process or Process()
    with _collect(model, trainable, batches, made, keep_each=False) as found:
        totals = process.sum(found.sums())
        samples = totals.pop(_COUNT)
        pairs = {n: totals.pop(_PAIR + n) for n in found.pairs}
        means = {n: divide(total, pairs.get(n, samples)) for n, total in totals.items()}
        return {**means, **_to_means(found.compute(process))}


@torch.no_grad()
def measure_each(
    model: nn.Module, trainable: Trainable, batches: Iterable[Batch]
) -> dict[str, NDArray[np.float64]]:
    """``loss`` and metrics of every sample, each ``(N,)``, in this process alone.

    A metric that has no value for each sample is one number, ``(1,)``.
    """
    with _collect(model, trainable, batches, None, keep_each=True) as found:
        pairs = {n: np.asarray([divide(float(s), c)]) for n, (s, c) in found.pairs.items()}
        pooled = {n: np.atleast_1d(v) for n, v in found.compute(Process()).items()}
        return {**found.join_each(), **pairs, **pooled}


@dataclass
class _Found:
    """What was measured of this process's batches; the keys are names of metrics."""

    keep_each: bool
    count: int = 0
    kinds: dict[str, str] = field(default_factory=dict)
    totals: dict[str, Tensor] = field(default_factory=dict)
    each: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    pairs: dict[str, tuple[Tensor, float]] = field(default_factory=dict)
    pooled: dict[str, list[Pooled]] = field(default_factory=lambda: defaultdict(list))
    objects: dict[str, MetricObject] = field(default_factory=dict)

    def add(self, values: Mapping[str, Measured], samples: int) -> None:
        """Add what was measured of a batch.

        Raises:
            ContractError: something is no metric, or not what it was for an earlier batch.
        """
        self.count += samples
        kinds = {name: self._add_value(name, value, samples) for name, value in values.items()}
        self.kinds = self.kinds or kinds
        for name in (*self.kinds, *kinds):
            before, now = (found.get(name, "missing") for found in (self.kinds, kinds))
            if before != now:
                raise ContractError(
                    f"{name!r} is {now} for this batch of {samples}, and was {before} before; "
                    "expected: the same for every batch (a `squeeze` of a batch of one drops its "
                    "axis)"
                )

    def _add_value(self, name: str, value: Any, samples: int) -> str:
        """Add a value; returns what it is."""
        match value:
            case Tensor() if tuple(value.shape) == (samples,):  # first: a protocol takes long
                self._add_samples(name, value)
                return "one value per sample"
            case Pooled():
                self.pooled[name].append(value)
                return "one of all samples"
            case (total, count):
                self._add_pair(name, total, count)
                return "a pair (sum, count)"
            case MetricObject():
                self.objects[name] = value
                return f"of {type(value).__name__}"
        raise ContractError(
            f"{name!r} is {describe_returned(value)} for a batch of {samples}; expected: one value "
            f"per sample, a tensor ({samples},), a pair (sum, count), or an object with `update`, "
            "`compute` and `reset`"
        )

    def _add_samples(self, name: str, value: Tensor) -> None:
        if self.keep_each:
            self.each[name].append(value.double().cpu())
            return
        total = sum_samples(value)
        self.totals[name] = self.totals[name] + total if name in self.totals else total

    def _add_pair(self, name: str, total: Any, count: Any) -> None:
        before, number = self.pairs.get(name, (torch.zeros((), dtype=torch.float64), 0.0))
        added = (
            read_number(total, f"the sum of {name!r}"),
            read_number(count, f"the count of {name!r}"),
        )
        self.pairs[name] = before + added[0], number + added[1]

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
    model: nn.Module,
    trainable: Trainable,
    batches: Iterable[Batch],
    made: Iterable[Any] | None,
    *,
    keep_each: bool,
) -> Iterator[_Found]:
    was_training, found = model.training, _Found(keep_each)
    model.eval()
    known = None if made is None else iter(made)
    try:
        for number, batch in enumerate(batches, 1):
            with locate(f"batch {number}"):
                if known is None:
                    values = _evaluate(trainable, model, batch)
                else:
                    values = trainable.evaluate_made(next(known), model, batch)
                found.add(values, len(batch))
        yield found
    finally:
        model.train(was_training)
        for metric in found.objects.values():
            metric.reset()


def _evaluate(trainable: Trainable, model: nn.Module, batch: Batch) -> Mapping[str, Measured]:
    own = type(trainable).evaluate is not Trainable.evaluate
    owner = f"{type(trainable).__name__}.evaluate" if own else "the network's forward"
    with blame("trainable", owner):
        values = check_named(trainable.evaluate(model, batch), owner)
        if "loss" not in values:
            raise ContractError(f"{owner} returned no 'loss'; expected: 'loss' and the metrics")
    return values


def _call_once(name: str, parts: Sequence[Pooled], process: Process) -> NDArray[np.float64]:
    device, called = find_device(parts[0].outputs), parts[0]
    mine = [(part.outputs, part.targets) for part in parts]
    by_rank = process.gather(mine)
    batches = [b for row in zip_longest(*by_rank) for b in row if b is not None]
    what = called.name or repr(name)
    with blame(called.where, what):
        outputs, targets = (_join(side, device) for side in zip(*batches, strict=True))
        value = called.function(outputs, targets)
        return read_values(value, count_samples(targets), what).double().cpu().numpy()


def _join(batches: Sequence[Any], device: torch.device) -> Any:
    """One nest of all batches' tensors."""
    return map_nest(lambda *parts: torch.cat([p.to(device) for p in parts]), *batches)


def _compute(name: str, metric: MetricObject, process: Process) -> dict[str, NDArray[np.float64]]:
    """The value of a metric object, or its values by name if there are several."""
    _synchronise(name, metric, process.world > 1)
    what = f"the metric {name!r}"
    with blame("training.metrics", what):
        found = metric.compute()
        if isinstance(found, Mapping):
            values = {f"{name}_{k}": v for k, v in check_named(found, what).items()}
        else:
            values = {name: found}
        hint = ": average it, for example by `average: macro`"
        return {k: np.asarray(read_number(v, repr(k), hint)) for k, v in values.items()}


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


def sum_samples(values: Tensor) -> Tensor:
    """The sum of a batch's values ``(B,)``, in double precision."""
    return values.sum(dtype=torch.float64)


def divide(total: float, count: float) -> float:
    """The mean; NaN of nothing."""
    return total / count if count else math.nan


def _to_means(values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    return {name: float(np.mean(value)) for name, value in values.items()}
