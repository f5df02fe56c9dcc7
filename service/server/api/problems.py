"""Every error as a problem document (RFC 9457), by the attributes of its exception's class."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from service.base.disk import is_disk_full
from service.base.errors import (
    DiskFullError,
    ErrorDetails,
    ForbiddenError,
    GapsweepError,
    Problem,
    RequestError,
    ServerError,
    SlowClientError,
    UnauthorizedError,
)
from service.base.redaction import redact
from service.base.versions import get_installed_version
from service.client.api_models import ProblemItem, ProblemOut
from service.client.problem_types import get_type
from service.server.api.refused_requests import count_forbidden

_log = logging.getLogger(__name__)
_MOST_PROBLEMS = 30
_SCHEMAS = "#/components/schemas/{model}"
_CLIENT_CLOSED_REQUEST = 499
"""As nginx counts a client that left before it was answered."""


def install(app: FastAPI) -> None:
    """Answer every error with a problem document; an unhandled one is logged and not described."""
    app.add_exception_handler(GapsweepError, _handle_own)
    app.add_exception_handler(RequestValidationError, _handle_invalid_request)
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(ClientDisconnect, _handle_disconnect)
    app.add_exception_handler(OSError, _handle_os_error)
    app.add_exception_handler(Exception, _handle_unexpected)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem documents that a route may answer, for the OpenAPI document."""
    schema = {"$ref": _SCHEMAS.format(model=ProblemOut.__name__)}
    content = {"application/problem+json": {"schema": schema}}
    return {s: {"description": HTTPStatus(s).phrase, "content": content} for s in statuses}


def build_schemas() -> dict[str, Any]:
    """The schemas that the responses of :func:`responses` refer to, by name."""
    schema = ProblemOut.model_json_schema(ref_template=_SCHEMAS)
    return {**schema.pop("$defs"), ProblemOut.__name__: schema}


async def _handle_own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GapsweepError)
    if isinstance(error, ForbiddenError):
        await run_in_threadpool(count_forbidden, request)
    return _respond(error)


async def _handle_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    problems = [
        Problem(".".join(str(p) for p in e["loc"]), e["msg"][0].lower() + e["msg"][1:])
        for e in found[:_MOST_PROBLEMS]
    ]
    if len(found) > _MOST_PROBLEMS:
        problems.append(Problem("", f"and {len(found) - _MOST_PROBLEMS:,} more problems"))
    return _respond(RequestError("the request", problems))


async def _handle_http(request: Request, error: Exception) -> JSONResponse:
    """For a route or method that does not exist."""
    assert isinstance(error, HTTPException)
    status, words, headers = HTTPStatus(error.status_code), str(error.detail), error.headers or {}
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_list_methods(request)) or headers.get("Allow", "none")
        words = f"{request.method} is not possible at this path; possible: {allowed}"
        headers = {**headers, "Allow": allowed}  # Starlette names those of the first route only
    elif status is HTTPStatus.NOT_FOUND:
        words = "there is nothing at this path; /docs lists all"
    return _document("about:blank", status, ErrorDetails(words), headers)


def _list_methods(request: Request) -> list[str]:
    """The methods of all documented routes of the request's path."""
    paths: Mapping[str, Mapping[str, Any]] = request.app.openapi()["paths"]
    found = (
        p for template, p in paths.items() if compile_path(template)[0].match(request.url.path)
    )
    return sorted({method.upper() for path in found for method in path})


async def _handle_disconnect(_request: Request, _error: Exception) -> Response:
    """For a client that left in the middle of its request; nobody receives the response."""
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _handle_os_error(request: Request, error: Exception) -> JSONResponse:
    """For a file that cannot be written or read."""
    if is_disk_full(error):
        return _respond(DiskFullError(f"a file cannot be written: {error}"))
    return await _handle_unexpected(request, error)


async def _handle_unexpected(_request: Request, error: Exception) -> JSONResponse:
    _log.error("unhandled error", exc_info=error)
    return _respond(ServerError("internal error; see the server's log"))


def _respond(error: GapsweepError) -> JSONResponse:
    if error.public_message is not None:
        _log.error("%s", error)
    return _document(get_type(type(error)), error.status, error.details(), _headers(error))


def _headers(error: GapsweepError) -> Mapping[str, str]:
    retry_after = error.details().retry_after
    if retry_after is not None:
        return {"Retry-After": f"{retry_after:.0f}"}
    if isinstance(error, SlowClientError):
        return {"Connection": "close"}  # the rest of the body would be taken for a request
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, UnauthorizedError) else {}


def _document(
    type_uri: str, status: HTTPStatus, details: ErrorDetails, headers: Mapping[str, str]
) -> JSONResponse:
    body = ProblemOut(
        type=type_uri,
        title=status.phrase,
        status=status,
        detail=redact(details.message),
        problems=tuple(ProblemItem(path=p.path, message=p.message) for p in details.problems),
    )
    return JSONResponse(
        body.model_dump(),
        status_code=status,
        media_type="application/problem+json",
        headers={"Gapsweep-Version": get_installed_version(), **headers},
    )
