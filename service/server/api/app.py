"""The API of the service, version 1."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response

from service.base.disk import check_room
from service.base.errors import ClusterUnavailableError, NotServingError
from service.base.versions import get_installed_version
from service.client.api_models import ClusterOut, MeOut, NodeOut, Status
from service.client.job_states import JobState
from service.cluster.jobs import JobCluster
from service.server.api import problems
from service.server.api.audit_routes import audit_router
from service.server.api.background_parts import Part, find_part_faults
from service.server.api.dependencies import (
    Credentials,
    TheCluster,
    TheHolder,
    TheService,
    authenticate,
)
from service.server.api.driver_routes import driver_router
from service.server.api.event_feeds import EventFeeds
from service.server.api.limit_routes import limits_router
from service.server.api.prometheus_metrics import Metrics, RequestMetrics
from service.server.api.rate_limits import RateLimiter, RateSettings
from service.server.api.result_routes import result_router
from service.server.api.sweep_routes import sweep_router
from service.server.api.threads import TheThreads, Threads
from service.server.api.token_expiry import TokenExpiry
from service.server.api.token_routes import token_router
from service.server.api.unknown_parameters import refuse_unknown
from service.server.leased_loop import LeasedLoop
from service.server.sweep_service import SweepService

health_router = APIRouter(tags=["health"])
cluster_router = APIRouter(
    prefix="/v1",
    tags=["cluster"],
    dependencies=[Depends(authenticate)],
    responses=problems.responses(401, 403, 429, 503),
)


me_router = APIRouter(prefix="/v1", tags=["users"], responses=problems.responses(401, 429, 503))


@me_router.get("/me")
def me(holder: TheHolder) -> MeOut:
    """Whose token this is, and its role; for programs that accept the service's tokens."""
    return holder


@health_router.head("/healthz", include_in_schema=False)
@health_router.get("/healthz")
async def healthz() -> Status:
    """Liveness: the process answers."""
    return Status(status="ok")


@health_router.head("/readyz", include_in_schema=False)
@health_router.get("/readyz", responses=problems.responses(503, 507))
async def readyz(request: Request, service: TheService, threads: TheThreads) -> Status:
    """Readiness: the database answers, its schema is this version's, and the queue is served.

    The home folder has room. With `gapsweep up`, Ray and MLflow run too.
    """
    await threads.run_probe(service.database.check)
    await threads.run_probe(lambda: check_room(service.settings.home))
    loops: Sequence[LeasedLoop] = request.app.state.loops
    faults = [fault for loop in loops if (fault := loop.find_fault())]
    faults += find_part_faults(request.app.state.parts)
    if faults:
        raise NotServingError("; ".join(faults))
    return Status(status="ok")


@health_router.get(
    "/metrics",
    response_class=Response,
    openapi_extra={"security": [{}]},  # a token is optional
    responses={
        **problems.responses(401, 429),
        200: {
            "description": "Prometheus' text format",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    },
)
async def metrics(
    request: Request, threads: TheThreads, service: TheService, credentials: Credentials
) -> Response:
    """The service's metrics, for Prometheus. With a token, hours are given by user."""
    found: Metrics = request.app.state.metrics
    if credentials is None:
        text = await threads.run_probe(found.text)
    else:
        await threads.run_probe(lambda: authenticate(request, service, credentials.credentials))
        text = await threads.run_probe(lambda: found.text(by_user=True))
    return Response(text, media_type="text/plain; version=0.0.4")


@cluster_router.get("/cluster")
def cluster(service: TheService, cluster: TheCluster) -> ClusterOut:
    """The cluster's nodes, and the numbers of queued and active sweeps."""
    if cluster is None:
        raise ClusterUnavailableError("this server has no cluster")
    nodes = tuple(
        NodeOut(name=n.name, cpus=n.amount.cpus, gpus=n.amount.gpus) for n in cluster.list_nodes()
    )
    counts = service.sweeps.counts()
    running = sum(count for state, count in counts.items() if state.is_active)
    return ClusterOut(nodes=nodes, queued=counts[JobState.QUEUED], running=running)


_FOR_PROGRAMS = (health_router, me_router, driver_router)
_FOR_USERS = (
    limits_router,
    token_router,
    audit_router,
    sweep_router,
    result_router,
    cluster_router,
)


class _Api(FastAPI):
    """An app whose OpenAPI document has the schemas of problem documents."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document.setdefault("components", {}).setdefault("schemas", {}).update(
            problems.build_schemas()
        )
        return document


def create_app(
    service: SweepService,
    cluster: JobCluster | None = None,
    *,
    rates: RateSettings | None = None,
    loops: Sequence[LeasedLoop] = (),
    parts: Sequence[Part] = (),
) -> FastAPI:
    """The API of a service whose database is up to date.

    The ``loops`` run while the app runs. Without a cluster, sweeps stay in the queue.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for loop in loops:
            loop.start()
        yield
        for loop in loops:
            loop.stop()
        service.audit_counter.write()

    app = _Api(
        title="gapsweep",
        version=get_installed_version(),
        summary="Which regularisation closes the generalisation gap of your model on your data?",
        lifespan=lifespan,
    )
    app.state.service, app.state.cluster, app.state.parts = service, cluster, parts
    app.state.rates = RateLimiter(rates or RateSettings())
    app.state.feeds = EventFeeds(service)
    app.state.loops, app.state.threads = tuple(loops), Threads()
    app.state.metrics = Metrics(service, loops)
    app.add_middleware(TokenExpiry)
    app.add_middleware(RequestMetrics, metrics=app.state.metrics)
    problems.install(app)
    for router in _FOR_PROGRAMS:
        app.include_router(router)
    for router in _FOR_USERS:
        app.include_router(router, dependencies=[Depends(refuse_unknown)])
    return app
