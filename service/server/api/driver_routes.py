"""Routes for the drivers of running sweeps, by a token that is good for one attempt of one sweep.

They are between the service and its own program on the cluster: they may change with any version,
and the OpenAPI document leaves them out.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ValidationError

from service.base.errors import Problem, RequestError
from service.client.driver_reports import (
    MAX_REPORT_BYTES,
    DriverJobOut,
    End,
    InstructionsOut,
    Report,
)
from service.client.job_states import JobState
from service.server.api.dependencies import TheScope, TheService, find_scope, read_body
from service.server.store.job_records import DriverReport
from service.sweep.cost import Cost

M = TypeVar("M", bound=BaseModel)

_MAX_PROBLEMS = 10

driver_router = APIRouter(
    prefix="/v1/driver", dependencies=[Depends(find_scope)], include_in_schema=False
)
ReportBody = Annotated[bytes, Depends(read_body(lambda _: MAX_REPORT_BYTES, "a report"))]


@driver_router.get("/job")
def job(service: TheService, scope: TheScope) -> DriverJobOut:
    """What the driver is to run."""
    return DriverJobOut.model_validate(service.sweeps.get_active(scope.sweep_id, scope.attempt))


@driver_router.post("/report")
def report(service: TheService, scope: TheScope, body: ReportBody) -> InstructionsOut:
    """Record what is new of the sweep."""
    told = _to_record(_parse(Report, body))
    found = service.progress.record(scope.sweep_id, scope.attempt, told)
    return InstructionsOut.model_validate(found)


@driver_router.post("/end", status_code=204)
def end(service: TheService, scope: TheScope, body: ReportBody) -> None:
    """Record how the sweep ended."""
    told = _parse(End, body)
    last = _to_record(told.report)
    service.progress.end(scope.sweep_id, scope.attempt, last, JobState(told.state), told.cause)


def _parse(model: type[M], body: bytes) -> M:
    """A message of a driver.

    Raises:
        RequestError: it is none.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [Problem(".".join(map(str, e["loc"]))[:200], e["msg"]) for e in found]
        raise RequestError("the report", problems[:_MAX_PROBLEMS]) from None


def _to_record(told: Report) -> DriverReport:
    progress = told.progress
    return DriverReport(
        trials=[t.to_trial() for t in told.trials],
        epochs=[e.to_epoch() for e in told.epochs],
        events=[e.to_event() for e in told.events],
        progress=None
        if progress is None
        else progress.model_dump(by_alias=True, exclude_unset=True),
        slot_seconds=told.slot_seconds,
        gpu_hours=told.gpu_hours,
        cost=None if told.cost is None else Cost(**told.cost.model_dump()),
    )
