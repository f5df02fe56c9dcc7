"""The API of the service, version 1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import (
    APIRouter,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
)
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.api import problems
from service.api.models import (
    EpochOut,
    EventOut,
    Status,
    SweepDetails,
    SweepOut,
    SweepsOut,
    TrialCurve,
    TrialOut,
    ValidOut,
)
from service.errors import UnauthorizedError
from service.jobs.service import MOST_PRIORITY, Service, spec_from
from service.store.records import Job, User
from service.store.states import JobState

MOST_BYTES = 256 * 2**10
"""Of a request's body: a spec."""
_PAUSE = 0.5
"""Seconds between looks for new events."""

_bearer = HTTPBearer(auto_error=False, description="a token that `gapsweep users add` printed")
_EXAMPLE = {
    "name": "digits-mlp",
    "trainable": "trainables.vision:MLP",
    "data": {"name": "digits"},
    "space": {"preset": "regularisation"},
}
_SPEC_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "object"}, "example": _EXAMPLE}
            for kind in ("application/json", "application/yaml")
        },
    }
}


def the_service(request: Request) -> Service:
    """The app's own."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(the_service)]


def the_user(
    service: TheService,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> User:
    """Who asks.

    Raises:
        UnauthorizedError: nobody that is known.
    """
    if credentials is None:
        raise UnauthorizedError("a token is needed: send `Authorization: Bearer TOKEN`")
    user = service.users.of_token(credentials.credentials)
    if user is None:
        raise UnauthorizedError("the token is not known, has expired or was revoked")
    return user


TheUser = Annotated[User, Depends(the_user)]
SweepId = Annotated[str, Path(max_length=96, examples=["digits-mlp-6b8a1b2c"])]


def the_job(service: TheService, sweep_id: SweepId) -> Job:
    """The sweep that the path names.

    Raises:
        SweepNotFoundError: there is none.
    """
    return service.sweeps.get(sweep_id)


TheJob = Annotated[Job, Depends(the_job)]


async def the_spec(request: Request) -> bytes:
    """The body, as it came.

    Raises:
        HTTPException: it is larger than a spec may be.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"a spec may have {MOST_BYTES // 1024} KiB at most")
    return bytes(body)


Body = Annotated[bytes, Depends(the_spec)]

open_to_all = APIRouter(tags=["health"])
v1 = APIRouter(
    prefix="/v1",
    tags=["sweeps"],
    dependencies=[Depends(the_user)],
    responses=problems.responses(401, 403, 404, 422, 503),
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


@v1.post("/validate", openapi_extra=_SPEC_BODY)
def validate(service: TheService, body: Body) -> ValidOut:
    """Check a spec without running anything; every problem at once."""
    spec = service.check(spec_from(body))
    return ValidOut(spec=spec.model_dump(mode="json", by_alias=True))


@v1.post(
    "/sweeps",
    status_code=201,
    openapi_extra=_SPEC_BODY,
    responses={**problems.responses(409, 413), 201: {"description": "queued"}},
)
def submit(
    service: TheService,
    user: TheUser,
    body: Body,
    response: Response,
    priority: Annotated[int, Query(ge=-MOST_PRIORITY, le=MOST_PRIORITY)] = 0,
    after: Annotated[list[str], Query(max_length=20, description="sweeps to wait for")] = [],  # noqa: B006  # FastAPI copies it
    idempotency_key: Annotated[str | None, Header(max_length=128, min_length=1)] = None,
) -> SweepOut:
    """Queue a sweep. The body is its spec, as JSON or YAML."""
    job = service.submit(
        user, spec_from(body), priority=priority, after=after, idempotency_key=idempotency_key
    )
    response.headers["Location"] = f"/v1/sweeps/{job.sweep_id}"
    return SweepOut.of(job)


@v1.get("/sweeps")
def sweeps(
    service: TheService,
    owner: Annotated[str | None, Query(max_length=64)] = None,
    state: Annotated[list[JobState], Query()] = [],  # noqa: B006  # FastAPI copies it
    name: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> SweepsOut:
    """List sweeps, the newest first."""
    page = service.sweeps.page(owner=owner, states=state, name=name, cursor=cursor, limit=limit)
    return SweepsOut(items=tuple(SweepOut.of(j) for j in page.items), cursor=page.cursor)


@v1.get("/sweeps/{sweep_id}")
def sweep(service: TheService, job: TheJob) -> SweepDetails:
    """One sweep with its spec and its history."""
    return SweepDetails.with_history(job, service.sweeps.history(job.sweep_id))


@v1.get("/sweeps/{sweep_id}/trials")
def trials(service: TheService, job: TheJob) -> list[TrialOut]:
    """A sweep's trials by number."""
    return [TrialOut.of(t) for t in service.progress.trials(job.sweep_id)]


@v1.get("/sweeps/{sweep_id}/trials/{number}")
def trial(
    service: TheService, job: TheJob, number: Annotated[int, Path(ge=0, lt=2**31)]
) -> TrialCurve:
    """One trial with its curve."""
    found = service.progress.trial(job.sweep_id, number)
    return TrialCurve(trial=TrialOut.of(found), epochs=tuple(EpochOut.of(e) for e in found.epochs))


@v1.get("/sweeps/{sweep_id}/events", response_class=EventSourceResponse)
async def events(
    service: TheService,
    job: TheJob,
    last_event_id: Annotated[int, Header(ge=0, lt=2**63)] = 0,
) -> AsyncIterator[ServerSentEvent]:
    """What happens to a sweep as it happens, from the beginning or from `Last-Event-ID` on.

    It ends when the sweep has.
    """
    last = last_event_id
    while True:
        now = await run_in_threadpool(service.sweeps.get, job.sweep_id)
        found = await run_in_threadpool(service.progress.events, job.sweep_id, last)
        for event in found:
            last = event.number
            yield ServerSentEvent(data=EventOut.of(event), event=event.kind, id=str(event.number))
        if not found:
            if now.state.is_over:
                return
            await asyncio.sleep(_PAUSE)


@v1.post("/sweeps/{sweep_id}:cancel", responses=problems.responses(409))
def cancel(service: TheService, user: TheUser, sweep_id: SweepId) -> SweepOut:
    """End a sweep for good; what it finished stays."""
    return SweepOut.of(service.cancel(user, sweep_id))


@v1.post("/sweeps/{sweep_id}:pause", responses=problems.responses(409))
def pause(service: TheService, user: TheUser, sweep_id: SweepId) -> SweepOut:
    """Stop a sweep until it is resumed."""
    return SweepOut.of(service.pause(user, sweep_id))


@v1.post("/sweeps/{sweep_id}:resume", responses=problems.responses(409))
def resume(service: TheService, user: TheUser, sweep_id: SweepId) -> SweepOut:
    """Queue a paused sweep again."""
    return SweepOut.of(service.resume(user, sweep_id))


@v1.post("/sweeps/{sweep_id}:retry", responses=problems.responses(409))
def retry(service: TheService, user: TheUser, sweep_id: SweepId) -> SweepOut:
    """Queue a sweep again that failed or was cancelled; it goes on where it stood."""
    return SweepOut.of(service.retry(user, sweep_id))


@v1.post("/sweeps/{sweep_id}:extend", responses=problems.responses(409))
def extend(
    service: TheService,
    user: TheUser,
    sweep_id: SweepId,
    trials: Annotated[int, Query(ge=1, le=100_000)],
) -> SweepOut:
    """Queue a sweep that succeeded for more trials."""
    return SweepOut.of(service.extend(user, sweep_id, trials))


def create_app(service: Service) -> FastAPI:
    """The API over a service whose database is up to date."""
    app = FastAPI(
        title="gapsweep",
        version="1",
        summary="Which regularisation closes the generalisation gap of your model on your data?",
    )
    app.state.service = service
    problems.install(app)
    app.include_router(open_to_all)
    app.include_router(v1)
    return app
