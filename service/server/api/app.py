"""The API of the service, version 1."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, Request, Response

from service.base.errors import ClusterAwayError
from service.base.versions import installed
from service.client.models import ClusterOut, NodeOut, Status
from service.cluster.jobs import JobCluster
from service.server.actions import Service
from service.server.api import problems
from service.server.api.dependencies import TheCluster, TheService, the_user
from service.server.api.metrics import Measuring, Metrics
from service.server.api.rate_limits import Rates, RateSettings
from service.server.api.result_routes import results_of_sweeps
from service.server.api.sweep_routes import v1
from service.server.leased_loop import Keeper
from service.server.store.states import JobState

open_to_all = APIRouter(tags=["health"])
on_the_cluster = APIRouter(
    prefix="/v1",
    tags=["cluster"],
    dependencies=[Depends(the_user)],
    responses=problems.responses(401, 403, 429, 503),
)


@open_to_all.get("/healthz")
def healthz() -> Status:
    """Whether the process answers."""
    return Status(status="ok")


@open_to_all.get("/readyz", responses=problems.responses(503))
def readyz(service: TheService) -> Status:
    """Whether the service can work: its database answers and is of this version."""
    service.database.check()
    return Status(status="ok")


@open_to_all.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus' text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
def metrics(request: Request) -> Response:
    """The service's metrics, for Prometheus."""
    found: Metrics = request.app.state.metrics
    return Response(found.text(), media_type="text/plain; version=0.0.4")


@on_the_cluster.get("/cluster")
def cluster(service: TheService, cluster: TheCluster) -> ClusterOut:
    """The cluster's nodes, and how many sweeps wait and run."""
    if cluster is None:
        raise ClusterAwayError("this server has no cluster")
    nodes = tuple(
        NodeOut(name=n.name, cpus=n.amount.cpus, gpus=n.amount.gpus) for n in cluster.nodes()
    )
    counts = service.sweeps.counts()
    running = sum(count for state, count in counts.items() if state.holds_a_job)
    return ClusterOut(nodes=nodes, queued=counts[JobState.QUEUED], running=running)


def create_app(
    service: Service,
    cluster: JobCluster | None = None,
    *,
    rates: RateSettings | None = None,
    keepers: Sequence[Keeper] = (),
) -> FastAPI:
    """The API over a service whose database is up to date.

    ``keepers`` work while the app does. Without a cluster, sweeps are queued and wait.
    """

    @asynccontextmanager
    async def working(_app: FastAPI) -> AsyncIterator[None]:
        for keeper in keepers:
            keeper.start()
        yield
        for keeper in keepers:
            keeper.stop()

    app = FastAPI(
        title="gapsweep",
        version=installed(),
        summary="Which regularisation closes the generalisation gap of your model on your data?",
        lifespan=working,
    )
    app.state.service, app.state.cluster = service, cluster
    app.state.rates = Rates(rates or RateSettings())
    app.state.metrics = Metrics(service, lambda: keepers[0].last_round if keepers else None)
    app.add_middleware(Measuring, metrics=app.state.metrics)
    problems.install(app)
    for router in (open_to_all, v1, results_of_sweeps, on_the_cluster):
        app.include_router(router)
    return app
