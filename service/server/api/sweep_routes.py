"""Routes that submit sweeps, list them, change them, and stream their events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, StringConstraints

from service.client.api_models import (
    BundleOut,
    EpochOut,
    SweepDetails,
    SweepOut,
    SweepsOut,
    TrialCurve,
    TrialOut,
    TrialsOut,
    ValidOut,
)
from service.client.job_states import JobState
from service.server.api import problems, responses
from service.server.api.dependencies import (
    BundleBody,
    SpecBody,
    SweepId,
    TheCaller,
    TheJob,
    TheService,
    TheToken,
    authenticate,
)
from service.server.api.event_feeds import TheFeeds
from service.server.api.threads import TheThreads
from service.server.spec_body import parse_spec_body
from service.server.store.job_records import Job
from service.server.sweep_service import MAX_PRIORITY

_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Proxies pass events on at once."""

_EVENT_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("event", "data", "id")},
}
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
AcceptChanges = Annotated[
    bool,
    Query(description="go on although data, code or libraries are not what they were"),
]
Widen = Annotated[
    list[Annotated[str, StringConstraints(max_length=10_000)]],
    Query(
        max_length=50,
        description="wider ranges, as `lambda[penalty=l2]=1e-7:10`, or more choices, as "
        "`augmentation=[noise]`",
    ),
]

sweep_router = APIRouter(
    prefix="/v1",
    tags=["sweeps"],
    dependencies=[Depends(authenticate)],
    responses=problems.responses(401, 403, 404, 422, 429, 503),
)


@sweep_router.post(
    "/validate",
    openapi_extra=_SPEC_BODY,
    response_model=ValidOut,
    responses=problems.responses(408, 413),
)
async def validate(service: TheService, threads: TheThreads, body: SpecBody) -> Response:
    """Validate a spec without running it. It counts as a submission.

    The first problems are reported at once, and the number of the others.
    """

    def work() -> Response:
        spec = service.check(parse_spec_body(body))
        return _to_response(ValidOut(spec=spec.model_dump(mode="json", by_alias=True)))

    return await threads.run_spec(work)


@sweep_router.post(
    "/bundles",
    status_code=201,
    openapi_extra=_BUNDLE_BODY,
    responses=problems.responses(408, 409, 413, 507),
)
def add_bundle(service: TheService, caller: TheCaller, body: BundleBody) -> BundleOut:
    """Upload code for sweeps: a zip of modules and packages. Its name is its SHA-256."""
    return BundleOut.model_validate(service.add_bundle(caller, body))


@sweep_router.post(
    "/sweeps",
    status_code=201,
    openapi_extra=_SPEC_BODY,
    responses={**problems.responses(408, 409, 413, 507), 201: {"description": "queued"}},
)
async def submit(
    service: TheService,
    threads: TheThreads,
    caller: TheCaller,
    body: SpecBody,
    response: Response,
    priority: Annotated[int, Query(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0,
    after: Annotated[
        list[SweepName], Query(max_length=20, description="sweeps that must succeed first")
    ] = [],  # noqa: B006  # FastAPI copies it
    bundle: Annotated[
        str | None, Query(max_length=64, description="digest of an uploaded bundle")
    ] = None,
    idempotency_key: Annotated[str | None, Header(max_length=128, min_length=1)] = None,
) -> SweepOut:
    """Queue a sweep. The body is its spec, as JSON or YAML."""

    def work() -> Job:
        return service.submit(
            caller,
            parse_spec_body(body),
            priority=priority,
            after=after,
            bundle=bundle,
            idempotency_key=idempotency_key,
        )

    job = await threads.run_spec(work)
    response.headers["Location"] = f"/v1/sweeps/{job.sweep_id}"
    return SweepOut.model_validate(job)


@sweep_router.get("/sweeps", response_model=SweepsOut)
def sweeps(
    service: TheService,
    owner: Annotated[str | None, Query(max_length=64)] = None,
    state: Annotated[list[JobState], Query()] = [],  # noqa: B006  # FastAPI copies it
    name: Annotated[str | None, Query(max_length=64)] = None,
    prefix: Annotated[str | None, Query(max_length=96, description="beginning of the ids")] = None,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """List sweeps, the newest first."""
    page = service.sweeps.page(
        owner=owner, states=state, name=name, prefix=prefix, cursor=cursor, limit=limit
    )
    items = tuple(SweepOut.model_validate(j) for j in page.items)
    return _to_response(SweepsOut(items=items, cursor=page.cursor))


@sweep_router.get("/sweeps/{sweep_id}", response_model=SweepDetails)
def sweep(service: TheService, sweep_id: SweepId) -> Response:
    """One sweep with its spec and its history."""
    found = service.sweeps.get_with_history(sweep_id)
    return _to_response(responses.sweep_details(found, service.costs.of_sweep(sweep_id)))


@sweep_router.get("/sweeps/{sweep_id}/trials", response_model=TrialsOut)
def trials(service: TheService, sweep_id: SweepId) -> Response:
    """A sweep's trials by number."""
    return _to_response(TrialsOut([TrialOut.of(t) for t in service.progress.trials(sweep_id)]))


@sweep_router.get("/sweeps/{sweep_id}/trials/{number}")
def trial(
    service: TheService, job: TheJob, number: Annotated[int, Path(ge=0, lt=2**31)]
) -> TrialCurve:
    """One trial with its curve."""
    found = service.progress.trial(job.sweep_id, number)
    return TrialCurve(trial=TrialOut.of(found), epochs=tuple(EpochOut.of(e) for e in found.epochs))


@sweep_router.get(
    "/sweeps/{sweep_id}/events",
    response_class=StreamingResponse,
    responses={
        **problems.responses(409),
        200: {
            "description": "a server-sent event stream",
            "content": {"text/event-stream": {"itemSchema": _EVENT_SCHEMA}},
        },
    },
)
async def events(
    feeds: TheFeeds,
    job: TheJob,
    user: TheCaller,
    token: TheToken,
    last_event_id: Annotated[int, Header(ge=0, lt=2**63)] = 0,
) -> StreamingResponse:
    """A sweep's events as they happen, from the first one or from after `Last-Event-ID`.

    The stream ends when the sweep has ended, and when the token is no longer valid.
    """
    feeds.check_room(user.name)
    stream = feeds.follow(
        job.sweep_id, last_event_id, over=job.state.is_over, user=user.name, token=token
    )
    return StreamingResponse(stream, media_type="text/event-stream", headers=_STREAM_HEADERS)


@sweep_router.post("/sweeps/{sweep_id}:cancel", responses=problems.responses(409))
def cancel(service: TheService, caller: TheCaller, sweep_id: SweepId) -> SweepOut:
    """Cancel a sweep; its finished trials stay."""
    return SweepOut.model_validate(service.cancel(caller, sweep_id))


@sweep_router.post("/sweeps/{sweep_id}:pause", responses=problems.responses(409))
def pause(service: TheService, caller: TheCaller, sweep_id: SweepId) -> SweepOut:
    """Pause a sweep until it is resumed."""
    return SweepOut.model_validate(service.pause(caller, sweep_id))


@sweep_router.post("/sweeps/{sweep_id}:resume", responses=problems.responses(409))
def resume(
    service: TheService,
    caller: TheCaller,
    sweep_id: SweepId,
    widen: Widen = [],  # noqa: B006  # FastAPI copies it
    accept_changes: AcceptChanges = False,
) -> SweepOut:
    """Queue a paused sweep again."""
    job = service.resume(caller, sweep_id, widen=widen, accept_changes=accept_changes)
    return SweepOut.model_validate(job)


@sweep_router.post("/sweeps/{sweep_id}:retry", responses=problems.responses(409))
def retry(
    service: TheService, caller: TheCaller, sweep_id: SweepId, accept_changes: AcceptChanges = False
) -> SweepOut:
    """Queue a failed or cancelled sweep again; it continues where it stopped."""
    job = service.retry(caller, sweep_id, accept_changes=accept_changes)
    return SweepOut.model_validate(job)


@sweep_router.post("/sweeps/{sweep_id}:extend", responses=problems.responses(409))
def extend(
    service: TheService,
    caller: TheCaller,
    sweep_id: SweepId,
    trials: Annotated[int, Query(ge=1, le=100_000)],
    widen: Widen = [],  # noqa: B006  # FastAPI copies it
    accept_changes: AcceptChanges = False,
) -> SweepOut:
    """Queue a sweep that succeeded for more trials."""
    job = service.extend(caller, sweep_id, trials, widen=widen, accept_changes=accept_changes)
    return SweepOut.model_validate(job)


@sweep_router.delete("/sweeps/{sweep_id}", status_code=202, responses=problems.responses(409))
def delete(service: TheService, caller: TheCaller, sweep_id: SweepId) -> SweepOut:
    """Delete a sweep that has ended: its files, its runs in MLflow, all that is known of it.

    Its state is `deleting` until all of it is gone. Models that its refit registered are kept.
    """
    return SweepOut.model_validate(service.delete(caller, sweep_id))


def _to_response(body: BaseModel) -> Response:
    """Serialise a large body here: FastAPI would validate it a second time before."""
    return Response(body.model_dump_json(), media_type="application/json")
