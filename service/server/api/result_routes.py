"""Routes of a sweep's results: the best trial, the report, the log, the model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from service.base.errors import NotReadyError
from service.client.api_models import BestOut, LogOut, TrialOut
from service.client.audit_actions import AuditAction
from service.server import sweep_results
from service.server.api import problems
from service.server.api.dependencies import TheCaller, TheJob, TheService, authenticate

_PART = 2**18
"""Bytes."""
_HTML_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
"""A page lies in a folder that users' code may write: a browser must run nothing of it."""

result_router = APIRouter(
    prefix="/v1/sweeps/{sweep_id}",
    tags=["results"],
    dependencies=[Depends(authenticate)],
    responses=problems.responses(401, 403, 404, 409, 422, 429, 503),
)


class ReportFormat(StrEnum):
    """The format of a report."""

    HTML = "html"
    JSON = "json"
    TEXT = "text"


@result_router.get("/best")
def best(service: TheService, job: TheJob) -> BestOut:
    """The best trial so far, the baseline, and the answer of a sweep that has ended."""
    found = sweep_results.load_sweep(service, job)
    if found.best is None:
        raise NotReadyError(f"no trial of {job.sweep_id} is complete yet")
    return BestOut(
        best=TrialOut.of(found.best),
        baseline=None if found.baseline is None else TrialOut.of(found.baseline),
        answer=found.answer,
    )


@result_router.get(
    "/report",
    response_class=Response,
    responses={
        200: {
            "description": "a self-contained HTML page, the summary as JSON, or plain text",
            "content": {
                "text/html": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
                "text/plain": {"schema": {"type": "string"}},
            },
        }
    },
)
def report(
    service: TheService,
    caller: TheCaller,
    job: TheJob,
    report_format: Annotated[ReportFormat, Query(alias="format")] = ReportFormat.HTML,
) -> Response:
    """The sweep's report as of now."""
    count = service.audit_counter.count
    action, detail = AuditAction.REPORT_DOWNLOAD, report_format.value
    count(caller.actor, action, sweep=job.sweep_id, detail=detail)
    if report_format is ReportFormat.JSON:
        text = sweep_results.summary(service, job).model_dump_json(indent=2)
        return Response(text, media_type="application/json")
    if report_format is ReportFormat.TEXT:
        return Response(sweep_results.render_text(service, job), media_type="text/plain")
    page = sweep_results.render_html(service, job)
    return Response(page, media_type="text/html", headers=_HTML_HEADERS)


@result_router.get("/logs")
def logs(
    service: TheService,
    job: TheJob,
    offset: Annotated[int, Query(ge=0, lt=2**53, description="bytes to skip")] = 0,
) -> LogOut:
    """A part of the drivers' log; `next` is the offset of the next part."""
    text, next_offset = sweep_results.read_log(service, job, offset)
    return LogOut(text=text, next=next_offset, ended=job.state.is_over)


@result_router.get(
    "/model",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "a PyTorch state dict",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        }
    },
)
def model(service: TheService, caller: TheCaller, job: TheJob) -> StreamingResponse:
    """The best trial's weights."""
    file = sweep_results.open_model(service, job)
    service.audit_counter.count(caller.actor, AuditAction.MODEL_DOWNLOAD, sweep=job.sweep_id)
    size = os.fstat(file.fileno()).st_size
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{job.sweep_id}.pt"',
    }
    content = _read_parts(file, size)
    return StreamingResponse(content, media_type="application/octet-stream", headers=headers)


def _read_parts(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The first ``size`` bytes of a file, which may grow meanwhile, in parts; closes it."""
    with file:
        while size > 0 and (part := file.read(min(size, _PART))):
            size -= len(part)
            yield part
