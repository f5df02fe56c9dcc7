"""Prometheus metrics of what sweeps cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from service.base.errors import GapsweepError
from service.server.store.cost_store import CostStore
from service.sweep.cost import Cost

MOST_USERS = 100
"""Users with a label of their own, those with the most hours; the others share ``other``."""
_PARTS = ("search", "confirmation")


class CostCollector(Collector):
    """Reads the store when the metrics are requested.

    The names of users are for callers with a token only.
    """

    def __init__(self, costs: CostStore, *, by_user: bool) -> None:
        self._costs, self._by_user = costs, by_user

    def collect(self) -> Iterable[Metric]:
        """CPU- and GPU-hours of the search and of the confirmation."""
        try:
            found = self._costs.by_user()
        except GapsweepError:
            return
        labels = ["user", "part"] if self._by_user else ["part"]
        cpus = CounterMetricFamily("gapsweep_cpu_hours", "CPU-hours of trials.", labels=labels)
        gpus = CounterMetricFamily("gapsweep_gpu_hours", "GPU-hours of trials.", labels=labels)
        for user, cost in self._select(found):
            for metric, hours in ((cpus, cost.cpu_hours), (gpus, cost.gpu_hours)):
                for part, value in zip(_PARTS, hours, strict=True):
                    metric.add_metric([user, part] if self._by_user else [part], value)
        yield from (cpus, gpus)

    def _select(self, found: Mapping[str, Cost]) -> Iterable[tuple[str, Cost]]:
        if not self._by_user:
            return [("", sum(found.values(), Cost()))]
        most = sorted(found.items(), key=lambda item: -sum(item[1].cpu_hours + item[1].gpu_hours))
        rest = [cost for _, cost in most[MOST_USERS:]]
        others = [("other", sum(rest, Cost()))] if rest else []
        return [*most[:MOST_USERS], *others]
