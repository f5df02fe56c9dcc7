"""Every error as a problem document (RFC 9457), its details those of our own exceptions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service.base.errors import (
    ClusterAwayError,
    ConflictError,
    DatabaseError,
    ForbiddenError,
    GapsweepError,
    InputError,
    NotFoundError,
    Problem,
    SpecError,
    TooManyError,
    UnauthorizedError,
)
from service.base.redaction import redact
from service.base.versions import installed_version
from service.client.models import ProblemItem, ProblemOut

STATUS: tuple[tuple[type[GapsweepError], HTTPStatus], ...] = (
    (UnauthorizedError, HTTPStatus.UNAUTHORIZED),
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (DatabaseError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ClusterAwayError, HTTPStatus.SERVICE_UNAVAILABLE),
    (TooManyError, HTTPStatus.TOO_MANY_REQUESTS),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (GapsweepError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
"""The first that fits counts."""

_log = logging.getLogger(__name__)


def document(
    status: HTTPStatus,
    detail: str,
    problems: tuple[Problem, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem document as an answer."""
    items = tuple(ProblemItem(path=p.path, message=p.message) for p in problems)
    body = ProblemOut(title=status.phrase, status=status, detail=detail, problems=items)
    return JSONResponse(
        body.model_dump(),
        status_code=status,
        media_type="application/problem+json",
        headers={"Gapsweep-Version": installed_version(), **(headers or {})},
    )


def install(app: FastAPI) -> None:
    """Let the app answer all errors so; what nobody foresaw is logged and not told."""
    app.add_exception_handler(GapsweepError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documents that a call may answer, for the OpenAPI document."""
    content = {"application/problem+json": {"schema": ProblemOut.model_json_schema()}}
    return {s: {"description": HTTPStatus(s).phrase, "content": content} for s in statuses}


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    if isinstance(error, DatabaseError):  # where it is, is nobody's business
        _log.error("%s", error)
        return document(status, "the database does not answer; try again later")
    if isinstance(error, ClusterAwayError):
        _log.error("%s", error)
        return document(status, "the cluster does not answer; try again later")
    problems = error.problems if isinstance(error, SpecError) else ()
    detail = str(error).splitlines()[0] if problems else str(error)
    return document(status, redact(detail), problems, _headers(error))


def _headers(error: Exception) -> Mapping[str, str]:
    if isinstance(error, UnauthorizedError):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooManyError):
        return {"Retry-After": f"{error.retry_after:.0f}"}
    return {}


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [
        Problem(".".join(str(p) for p in e["loc"]), e["msg"][0].lower() + e["msg"][1:])
        for e in error.errors()
    ]
    return document(HTTPStatus.UNPROCESSABLE_ENTITY, "the request is not valid", tuple(found))


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return document(HTTPStatus(error.status_code), str(error.detail), (), error.headers)


async def _unforeseen(_request: Request, error: Exception) -> JSONResponse:
    _log.error("an error that nobody foresaw", exc_info=error)
    return document(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong; it was logged")
