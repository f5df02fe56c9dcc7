"""Calls that give what a sweep found: the best trial, the report, the log, the model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import FileResponse

from service.base.errors import NothingYetError
from service.client.models import BestOut, LogOut, TrialOut
from service.server import sweep_results
from service.server.api import problems
from service.server.api.dependencies import TheJob, TheService, the_user

results_of_sweeps = APIRouter(
    prefix="/v1/sweeps/{sweep_id}",
    tags=["results"],
    dependencies=[Depends(the_user)],
    responses=problems.responses(401, 403, 404, 422, 429, 503),
)


class ReportForm(StrEnum):
    """How a report is given."""

    HTML = "html"
    JSON = "json"
    TEXT = "text"


@results_of_sweeps.get("/best")
def best(service: TheService, job: TheJob) -> BestOut:
    """The best trial so far, and the baseline that it is compared with."""
    found = sweep_results.sweep_of(service, job)
    if found.best is None:
        raise NothingYetError(f"no trial of {job.sweep_id} is complete yet")
    return BestOut(
        best=TrialOut.of(found.best),
        baseline=None if found.baseline is None else TrialOut.of(found.baseline),
    )


@results_of_sweeps.get(
    "/report",
    response_class=Response,
    responses={
        200: {
            "description": "a page that needs nothing else, the summary, or a text",
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
    job: TheJob,
    form: Annotated[ReportForm, Query(alias="format")] = ReportForm.HTML,
) -> Response:
    """What a sweep found, as it stands."""
    if form is ReportForm.JSON:
        text = sweep_results.summary(service, job).model_dump_json(indent=2)
        return Response(text, media_type="application/json")
    if form is ReportForm.TEXT:
        return Response(sweep_results.text(service, job), media_type="text/plain")
    return Response(sweep_results.page(service, job), media_type="text/html")


@results_of_sweeps.get("/logs")
def logs(
    service: TheService,
    job: TheJob,
    offset: Annotated[int, Query(ge=0, lt=2**53, description="bytes to leave out")] = 0,
) -> LogOut:
    """What the sweep's drivers had to say; `next` is the offset to go on from."""
    text, following = sweep_results.log(service, job, offset)
    return LogOut(text=text, next=following, ended=job.state.is_over)


@results_of_sweeps.get(
    "/model",
    response_class=FileResponse,
    responses={
        200: {
            "description": "a PyTorch state dict",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        }
    },
)
def model(service: TheService, job: TheJob) -> FileResponse:
    """The best trial's weights."""
    path = sweep_results.model(service, job)
    return FileResponse(path, media_type="application/octet-stream", filename=f"{job.sweep_id}.pt")
