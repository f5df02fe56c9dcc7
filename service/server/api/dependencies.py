"""What a request brings with it: the app's service, who asks, the sweep that is named, the body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.base.errors import UnauthorizedError
from service.cluster.jobs import JobCluster
from service.server.actions import Service
from service.server.api.rate_limits import Rates
from service.server.store.job_records import Job, User

MOST_BYTES = 256 * 2**10
"""Of a spec."""

_bearer = HTTPBearer(auto_error=False, description="a token that `gapsweep users add` printed")


async def the_service(request: Request) -> Service:
    """The app's own. Not blocking, as what is not a coroutine gets a thread."""
    service: Service = request.app.state.service
    return service


async def the_cluster(request: Request) -> JobCluster | None:
    """The app's own, if it has one."""
    cluster: JobCluster | None = request.app.state.cluster
    return cluster


TheService = Annotated[Service, Depends(the_service)]
TheCluster = Annotated[JobCluster | None, Depends(the_cluster)]


def the_user(
    request: Request,
    service: TheService,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> User:
    """Who asks.

    Raises:
        UnauthorizedError: nobody that is known.
        TooManyError: more often than anybody may.
    """
    rates: Rates = request.app.state.rates
    if credentials is None:
        raise UnauthorizedError("a token is needed: send `Authorization: Bearer TOKEN`")
    user = service.users.of_token(credentials.credentials)
    if user is None:
        rates.count_stranger(request.client.host if request.client else "")
        raise UnauthorizedError("the token is not known, has expired or was revoked")
    rates.count(user.name, submits=request.method == "POST" and _makes(request))
    return user


def _makes(request: Request) -> bool:
    return request.url.path.endswith(("/sweeps", "/bundles"))


TheUser = Annotated[User, Depends(the_user)]
SweepId = Annotated[str, Path(max_length=96, examples=["digits-mlp-6b8a1b2c"])]


def the_job(service: TheService, sweep_id: SweepId) -> Job:
    """The sweep that the path names.

    Raises:
        SweepNotFoundError: there is none.
    """
    return service.sweeps.get(sweep_id)


TheJob = Annotated[Job, Depends(the_job)]


def body_of(most: Callable[[Service], int], what: str) -> Callable[..., Awaitable[bytes]]:
    """A dependency that reads the body as it came and refuses one that is too large."""

    async def read(request: Request, service: TheService) -> bytes:
        limit = most(service)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise HTTPException(413, f"{what} may have {limit // 1024} KiB at most")
        return bytes(body)

    return read


SpecBody = Annotated[bytes, Depends(body_of(lambda _: MOST_BYTES, "a spec"))]
BundleBody = Annotated[
    bytes, Depends(body_of(lambda service: service.settings.bundles.packed, "a bundle"))
]
