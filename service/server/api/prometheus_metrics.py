"""Prometheus metrics: requests by route and status, sweeps by state."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.base.errors import GapsweepError
from service.server.api.cost_metrics import CostCollector
from service.server.leased_loop import LeasedLoop
from service.server.sweep_service import SweepService

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The metrics of one process."""

    def __init__(self, service: SweepService, loops: Sequence[LeasedLoop]) -> None:
        """The first of the ``loops`` is the reconciler's."""
        self._registry = CollectorRegistry()
        self._registry.register(_SweepCollector(service))
        self._registry.register(_LoopCollector(loops))
        self._costs = service.costs
        labels = ("method", "path", "status")
        self.requests = Counter(
            "gapsweep_requests", "Requests to the API.", labels, registry=self._registry
        )
        self.seconds = Histogram(
            "gapsweep_request_seconds",
            "Seconds from the request to the response's headers.",
            ("method", "path"),
            registry=self._registry,
            buckets=_BUCKETS,
        )

    def text(self, *, by_user: bool = False) -> bytes:
        """In Prometheus' text format; what sweeps cost is that of all users, or ``by_user``."""
        costs = CollectorRegistry()
        costs.register(CostCollector(self._costs, by_user=by_user))
        return generate_latest(self._registry) + generate_latest(costs)


class _SweepCollector(Collector):
    """Reads the store when the metrics are requested."""

    def __init__(self, service: SweepService) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """Sweeps by state, and whether the store answers."""
        sweeps = GaugeMetricFamily("gapsweep_sweeps", "Sweeps by state.", labels=["state"])
        try:
            for state, count in self._service.sweeps.counts().items():
                sweeps.add_metric([state.value], count)
            yield sweeps
            up = 1.0
        except GapsweepError:
            up = 0.0
        yield GaugeMetricFamily("gapsweep_store_up", "Whether the store answers.", value=up)


class _LoopCollector(Collector):
    """The background loops of this process."""

    def __init__(self, loops: Sequence[LeasedLoop]) -> None:
        self._loops = loops

    def collect(self) -> Iterable[Metric]:
        """How long ago each loop last did its work, how long that took, and whether it works."""
        age = GaugeMetricFamily(
            "gapsweep_loop_age_seconds",
            "Seconds since a background loop did its work or left it to another process.",
            labels=["loop"],
        )
        took = GaugeMetricFamily(
            "gapsweep_round_seconds", "Seconds that a loop's last round took.", labels=["loop"]
        )
        up = GaugeMetricFamily(
            "gapsweep_loop_up", "Whether a background loop works.", labels=["loop"]
        )
        for loop in self._loops:
            age.add_metric([loop.name], loop.age)
            up.add_metric([loop.name], loop.find_fault() is None)
            if loop.round_seconds is not None:
                took.add_metric([loop.name], loop.round_seconds)
        yield from (age, took, up)
        last = self._loops[0].last_round if self._loops else None
        if last is not None:
            help_text = "Unix time of the reconciler's last round."
            yield GaugeMetricFamily("gapsweep_last_round_time", help_text, value=last)


class RequestMetrics:
    """ASGI middleware that counts and times requests by route, not by URL."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and count it when the response's headers are sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def count_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], start)
            await send(message)

        try:
            await self._app(scope, receive, count_and_send)
        except Exception:  # an outer middleware turns it into a response with status 500
            self._count(scope, 500, start)
            raise

    def _count(self, scope: Scope, status: int, start: float) -> None:
        path, method = _route(scope), scope["method"]
        method = method if method in _METHODS else "other"
        self._metrics.requests.labels(method, path, str(status)).inc()
        self._metrics.seconds.labels(method, path).observe(time.perf_counter() - start)


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return str(getattr(route, "path", "other"))
