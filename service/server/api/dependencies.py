"""FastAPI dependencies: the service, the authenticated user, the sweep in the path, the body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.base.errors import (
    StaleDriverError,
    SweepNotFoundError,
    TooLargeError,
    UnauthorizedError,
)
from service.client.models import MeOut
from service.cluster.jobs import JobCluster
from service.server.api.rate_limits import RateLimiter
from service.server.store.callers import Caller
from service.server.store.job_records import Job
from service.server.store.sweep_tokens import SweepScope
from service.server.sweep_service import SweepService

MAX_SPEC_BYTES = 256 * 2**10

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


def read_token(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """The request's token, which may be anything.

    Raises:
        UnauthorizedError: there is none.
    """
    if credentials is None:
        raise UnauthorizedError("missing token: send `Authorization: Bearer TOKEN`")
    return credentials.credentials


TheToken = Annotated[str, Depends(read_token)]


def authenticate(request: Request, service: TheService, token: TheToken) -> Caller:
    """The user of the request's token.

    Raises:
        UnauthorizedError: the token is no user's.
        RateLimitError: a rate limit is exceeded.
    """
    caller = service.tokens.find_caller(token, find_address(request))
    if caller is None:
        raise _refuse_token(request)
    _rates(request).count(caller.name, submits=_is_submission(request))
    return caller


def find_holder(request: Request, service: TheService, token: TheToken) -> MeOut:
    """Whose token it is.

    Raises:
        UnauthorizedError: the token is nobody's.
        RateLimitError: the host has sent too many invalid tokens.
    """
    caller = service.tokens.find_caller(token, find_address(request))
    if caller is not None:
        return MeOut(name=caller.name, role=caller.rights.value)
    scope = service.sweep_tokens.read(token)
    if scope is None:
        raise _refuse_token(request)
    try:
        service.sweeps.get_active(scope.sweep_id, scope.attempt)
    except (StaleDriverError, SweepNotFoundError):
        raise _refuse_token(request) from None
    return MeOut(name=scope.sweep_id, role="sweep", sweep_id=scope.sweep_id)


TheHolder = Annotated[MeOut, Depends(find_holder)]


def find_scope(request: Request, service: TheService, token: TheToken) -> SweepScope:
    """The sweep and the attempt that the request's token is for; the attempt may be over.

    Raises:
        UnauthorizedError: the token is no sweep's.
        RateLimitError: a rate limit is exceeded.
    """
    scope = service.sweep_tokens.read(token)
    if scope is None:
        raise _refuse_token(request)
    _rates(request).count_driver(scope.sweep_id)
    return scope


TheScope = Annotated[SweepScope, Depends(find_scope)]


def _refuse_token(request: Request) -> UnauthorizedError:
    """The error of an invalid token, which counts for its host.

    Raises:
        RateLimitError: the host has sent too many.
    """
    _rates(request).count_failure(find_address(request))
    return UnauthorizedError("invalid token: unknown, expired or revoked")


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
    """A dependency that reads the raw body and refuses one that is too large."""

    async def read(request: Request, service: TheService) -> bytes:
        limit = max_bytes(service)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise TooLargeError(f"{what} is too large; the limit is {limit // 1024} KiB")
        return bytes(body)

    return read


SpecBody = Annotated[bytes, Depends(read_body(lambda _: MAX_SPEC_BYTES, "a spec"))]
BundleBody = Annotated[
    bytes, Depends(read_body(lambda service: service.settings.bundles.packed, "a bundle"))
]
