"""The metrics that a spec adds to those of its task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from trainables.config.training import MetricSpec, prefers_high
from trainables.data.nests import count_samples
from trainables.errors import blame
from trainables.functions import Function, Measured, MetricObject, Pooled, find_device, load
from trainables.return_checks import read_values

_KEY = "training.metrics"


@dataclass(frozen=True)
class OwnMetric:
    """A function of outputs and targets, or an object that collects batches.

    A function that is ``additive`` is called for every batch, any other once for a whole split.
    """

    name: str
    metric: Function | MetricObject
    higher_is_better: bool
    additive: bool = False

    def measure(self, outputs: Any, targets: Any) -> Measured:
        """The metric of a batch.

        Raises:
            ContractError: it failed, or returned no metric.
        """
        what = f"the metric {self.name!r}"
        if isinstance(self.metric, MetricObject):
            with blame(_KEY, what):
                if isinstance(self.metric, nn.Module):
                    self.metric.to(find_device(outputs))
                self.metric.update(outputs, targets)
            return self.metric
        if not self.additive:
            return Pooled(self.metric, outputs, targets, _KEY, what)
        count = count_samples(targets)
        with blame(_KEY, what):
            value = read_values(self.metric(outputs, targets), count, what)
        return value if value.ndim else (value.double() * count, count)


def load_metrics(specs: Iterable[MetricSpec]) -> tuple[OwnMetric, ...]:
    """The metrics of a spec, ready to measure.

    Raises:
        ContractError: a path does not name a metric, or it does not take its arguments.
    """
    with blame(_KEY):
        return tuple(_load(spec) for spec in specs)


def _load(spec: MetricSpec) -> OwnMetric:
    metric = load(spec.path, spec.arguments)
    known = getattr(metric, "higher_is_better", None)
    high = prefers_high(spec)
    if spec.higher_is_better is None and isinstance(known, bool):
        high = known
    return OwnMetric(spec.name, metric, high, spec.additive)
