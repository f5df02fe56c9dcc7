"""Calls that submit sweeps, list them, act on them, and tell what happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, StringConstraints

from service.client.models import (
    BundleOut,
    EpochOut,
    EventOut,
    SweepDetails,
    SweepOut,
    SweepsOut,
    TrialCurve,
    TrialOut,
    TrialsOut,
    ValidOut,
)
from service.server.actions import MOST_PRIORITY, spec_from
from service.server.api import problems
from service.server.api.dependencies import (
    BundleBody,
    SpecBody,
    SweepId,
    TheJob,
    TheService,
    TheUser,
    the_user,
)
from service.server.store.states import JobState

_PAUSE = 0.5
"""Seconds between looks for new events."""
_SEVERAL = 500
"""Events read at a time."""

_EXAMPLE = {
    "name": "digits-mlp",
    "trainable": "trainables.models:MLP",
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
_BUNDLE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}

SweepName = Annotated[str, StringConstraints(max_length=96)]

v1 = APIRouter(
    prefix="/v1",
    tags=["sweeps"],
    dependencies=[Depends(the_user)],
    responses=problems.responses(401, 403, 404, 422, 429, 503),
)


@v1.post("/validate", openapi_extra=_SPEC_BODY, responses=problems.responses(413))
def validate(service: TheService, body: SpecBody) -> ValidOut:
    """Check a spec without running anything; every problem at once."""
    spec = service.check(spec_from(body))
    return ValidOut(spec=spec.model_dump(mode="json", by_alias=True))


@v1.post("/bundles", status_code=201, openapi_extra=_BUNDLE_BODY, responses=problems.responses(413))
def add_bundle(service: TheService, user: TheUser, body: BundleBody) -> BundleOut:
    """Hand in code for sweeps: a zip of modules and packages. It is named by its SHA-256."""
    return BundleOut.model_validate(service.add_bundle(user, body))


@v1.post(
    "/sweeps",
    status_code=201,
    openapi_extra=_SPEC_BODY,
    responses={**problems.responses(409, 413), 201: {"description": "queued"}},
)
def submit(
    service: TheService,
    user: TheUser,
    body: SpecBody,
    response: Response,
    priority: Annotated[int, Query(ge=-MOST_PRIORITY, le=MOST_PRIORITY)] = 0,
    after: Annotated[list[SweepName], Query(max_length=20, description="to wait for")] = [],  # noqa: B006  # FastAPI copies it
    bundle: Annotated[str | None, Query(max_length=64, description="a bundle's digest")] = None,
    idempotency_key: Annotated[str | None, Header(max_length=128, min_length=1)] = None,
) -> SweepOut:
    """Queue a sweep. The body is its spec, as JSON or YAML."""
    job = service.submit(
        user,
        spec_from(body),
        priority=priority,
        after=after,
        bundle=bundle,
        idempotency_key=idempotency_key,
    )
    response.headers["Location"] = f"/v1/sweeps/{job.sweep_id}"
    return SweepOut.of(job)


@v1.get("/sweeps", response_model=SweepsOut)
def sweeps(
    service: TheService,
    owner: Annotated[str | None, Query(max_length=64)] = None,
    state: Annotated[list[JobState], Query()] = [],  # noqa: B006  # FastAPI copies it
    name: Annotated[str | None, Query(max_length=64)] = None,
    prefix: Annotated[str | None, Query(max_length=96, description="of the ids")] = None,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """List sweeps, the newest first."""
    page = service.sweeps.page(
        owner=owner, states=state, name=name, prefix=prefix, cursor=cursor, limit=limit
    )
    items = tuple(SweepOut.of(j) for j in page.items)
    return _written(SweepsOut(items=items, cursor=page.cursor))


@v1.get("/sweeps/{sweep_id}", response_model=SweepDetails)
def sweep(service: TheService, sweep_id: SweepId) -> Response:
    """One sweep with its spec and its history."""
    return _written(SweepDetails.with_history(service.sweeps.standing(sweep_id)))


@v1.get("/sweeps/{sweep_id}/trials", response_model=TrialsOut)
def trials(service: TheService, sweep_id: SweepId) -> Response:
    """A sweep's trials by number."""
    return _written(TrialsOut([TrialOut.of(t) for t in service.progress.trials(sweep_id)]))


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
        found = await run_in_threadpool(service.progress.events, job.sweep_id, last, _SEVERAL)
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


def _written(answer: BaseModel) -> Response:
    """A large answer as it is sent, written here and once: FastAPI would check it again first."""
    return Response(answer.model_dump_json(), media_type="application/json")
