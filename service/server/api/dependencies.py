"""FastAPI dependencies: the service, the authenticated user, the sweep in the path, the body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Header, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.base.errors import (
    SlowClientError,
    StaleDriverError,
    SweepNotFoundError,
    TooLargeError,
    UnauthorizedError,
)
from service.client.api_models import MeOut
from service.client.audit_actions import AuditAction
from service.cluster.jobs import JobCluster
from service.server.api.rate_limits import RateLimiter
from service.server.api.refused_requests import count_stranger
from service.server.store.callers import Caller
from service.server.store.job_records import Job
from service.server.store.sweep_tokens import SweepScope
from service.server.sweep_service import SweepService

MAX_SPEC_BYTES = 256 * 2**10
BODY_TIMEOUT = 30.0
"""Seconds for which nothing of a request's body may arrive."""
MIN_RATE = 50_000
"""Bytes per second of the slowest connection over which the largest body still arrives."""

_bearer = HTTPBearer(auto_error=False, description="an API token, see `gapsweep users add`")


async def get_service(request: Request) -> SweepService:
    """The app's service. A coroutine, because FastAPI runs plain functions on a thread."""
    service: SweepService = request.app.state.service
    return service


async def get_cluster(request: Request) -> JobCluster | None:
    """The app's cluster, if it has one."""
    cluster: JobCluster | None = request.app.state.cluster
    return cluster


TheService = Annotated[SweepService, Depends(get_service)]
TheCluster = Annotated[JobCluster | None, Depends(get_cluster)]


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def read_token(request: Request, service: TheService, credentials: Credentials) -> str:
    """The request's token, which may be anything.

    Raises:
        UnauthorizedError: there is none.
        RateLimitError: the host has sent too many requests without a valid token.
    """
    if credentials is None:
        error = _refuse_stranger(request, "missing token: send `Authorization: Bearer TOKEN`")
        await run_in_threadpool(count_stranger, service, find_address(request))
        raise error
    return credentials.credentials


TheToken = Annotated[str, Depends(read_token)]
ProgramClient = Annotated[
    str | None,
    Header(
        alias="Gapsweep-Client",
        max_length=64,
        description="for a program that takes the service's tokens, as MLflow: the address of its "
        "client, for the audit log",
    ),
]


def authenticate(request: Request, service: TheService, token: TheToken) -> Caller:
    """The user of the request's token.

    Raises:
        UnauthorizedError: the token is not a user's.
        RateLimitError: a rate limit is exceeded.
    """
    caller = service.tokens.find_caller(token, find_address(request))
    if caller is None:
        raise _refuse_token(request, service, token)
    request.state.caller = caller
    _rates(request).count(caller.name, submits=_is_submission(request))
    service.audit_counter.count(caller.actor, AuditAction.TOKEN_USE)
    return caller


def find_holder(
    request: Request, service: TheService, token: TheToken, program_client: ProgramClient = None
) -> MeOut:
    """Whose token it is; a program that checks a token may say from where it came.

    Raises:
        UnauthorizedError: the token is nobody's.
        RateLimitError: the host has sent too many invalid tokens.
    """
    caller = service.tokens.find_caller(token, find_address(request))
    client = _read_address(program_client)
    if caller is not None:
        request.state.caller = caller
        action = AuditAction.MLFLOW_USE if client else AuditAction.TOKEN_USE
        service.audit_counter.count(caller.actor, action, detail=client)
        return MeOut(
            name=caller.name,
            role=caller.rights.value,
            token=caller.token,
            scope=caller.scope.value,
            expires=caller.expires,
        )
    if service.service_tokens.is_valid(token):
        return MeOut(name="service", role="service")
    scope = service.sweep_tokens.read(token)
    if scope is None:
        raise _refuse_token(request, service, token, client)
    try:
        service.sweeps.get_active(scope.sweep_id, scope.attempt)
    except (StaleDriverError, SweepNotFoundError):
        raise _refuse_token(request, service, token, client) from None
    return MeOut(name=scope.sweep_id, role="sweep", sweep_id=scope.sweep_id)


TheHolder = Annotated[MeOut, Depends(find_holder)]


def find_scope(request: Request, service: TheService, token: TheToken) -> SweepScope:
    """The sweep and the attempt that the request's token is for; the attempt may be over.

    Raises:
        UnauthorizedError: the token is not a sweep's.
        RateLimitError: a rate limit is exceeded.
    """
    scope = service.sweep_tokens.read(token)
    if scope is None:
        raise _refuse_token(request, service, token)
    _rates(request).count_driver(scope.sweep_id)
    return scope


TheScope = Annotated[SweepScope, Depends(find_scope)]


def _refuse_token(
    request: Request, service: SweepService, token: str, client: str = ""
) -> UnauthorizedError:
    """As :func:`_refuse_stranger`, for an invalid token; it is in the audit log."""
    known, why = service.tokens.explain(token)
    error = _refuse_stranger(request, f"invalid token: {why}")
    count_stranger(service, find_address(request), known, why, client)
    return error


def _refuse_stranger(request: Request, words: str) -> UnauthorizedError:
    """The error of a request without a valid token, which counts for its host.

    Raises:
        RateLimitError: the host has sent too many.
    """
    _rates(request).count_failure(find_address(request))
    return UnauthorizedError(words)


def _read_address(text: str | None) -> str:
    """The address that a header names; empty if it names none."""
    try:
        return "" if text is None else str(ip_address(text))
    except ValueError:
        return ""


def find_address(request: Request) -> str:
    """The address of the request's client."""
    return request.client.host if request.client else ""


def _rates(request: Request) -> RateLimiter:
    rates: RateLimiter = request.app.state.rates
    return rates


def _is_submission(request: Request) -> bool:
    return request.method == "POST" and request.url.path.endswith(
        ("/sweeps", "/bundles", "/validate")
    )


TheCaller = Annotated[Caller, Depends(authenticate)]
SweepId = Annotated[str, Path(max_length=96, examples=["digits-mlp-6b8a1b2c"])]


def get_job(service: TheService, sweep_id: SweepId) -> Job:
    """The sweep in the request's path.

    Raises:
        SweepNotFoundError: no sweep has this id.
    """
    return service.sweeps.get(sweep_id)


TheJob = Annotated[Job, Depends(get_job)]


def read_body(
    max_bytes: Callable[[SweepService], int], what: str
) -> Callable[..., Awaitable[bytes]]:
    """A dependency that reads the raw body and refuses one that is too large or too slow."""

    async def read(request: Request, service: TheService) -> bytes:
        limit = max_bytes(service)
        body = bytearray()
        clock = asyncio.get_running_loop().time
        last = clock() + BODY_TIMEOUT + limit / MIN_RATE
        try:
            async with asyncio.timeout(BODY_TIMEOUT) as timeout:
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise TooLargeError(
                            f"{what} is too large; the limit is {limit // 1024} KiB"
                        )
                    timeout.reschedule(min(last, clock() + BODY_TIMEOUT))
        except TimeoutError:
            words = f"{what} did not arrive in time; {len(body):,} bytes of the body did"
            raise SlowClientError(words) from None
        return bytes(body)

    return read


SpecBody = Annotated[bytes, Depends(read_body(lambda _: MAX_SPEC_BYTES, "a spec"))]
BundleBody = Annotated[
    bytes, Depends(read_body(lambda service: service.settings.bundles.packed, "a bundle"))
]
