"""Asks the service's API whose token a request to MLflow has, and remembers the answer briefly."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, TypeVar

import httpx2

FRESH = 5.0
"""Seconds for which an answer holds: a revoked token is refused after that."""
GRACE = 600.0
"""Seconds for which a valid token stays valid while the API does not answer.

A sweep that ends while the API restarts still completes its runs.
"""
CLIENT = "Gapsweep-Client"
"""The header that names the client of a program that takes the service's tokens."""
_REMEMBERED = 1024
_CLIENTS = 64
_TIMEOUT = 5.0
_Value = TypeVar("_Value")


class RefusedError(Exception):
    """A request that is not answered: its HTTP status, and a sentence that says why."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        self.status, self.sentence = status, sentence
        super().__init__(sentence)


class Authority(Protocol):
    """Who knows tokens."""

    async def find_role(self, token: str, client: str = "") -> str:
        """The role of a token, which came from a client's address.

        Raises:
            RefusedError: the token is invalid, or cannot be checked.
        """


@dataclass(frozen=True)
class _Known:
    role: str
    when: float
    clients: frozenset[str]


class ApiTokens:
    """The tokens of the API at a URL; for one event loop."""

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url, self._clock = f"{url.rstrip('/')}/v1/me", clock
        self._client = httpx2.AsyncClient(
            timeout=_TIMEOUT, transport=transport, trust_env=False, follow_redirects=False
        )
        self._valid: OrderedDict[bytes, _Known] = OrderedDict()
        self._invalid: OrderedDict[bytes, float] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[str]] = {}

    async def find_role(self, token: str, client: str = "") -> str:
        """As :meth:`Authority.find_role`; concurrent requests with one token ask once.

        The service is asked at once for a client that is new, which its audit log names.
        """
        key = hashlib.sha256(token.encode()).digest()
        known = self._valid.get(key)
        fresh = known is not None and self._clock() - known.when < FRESH
        if known is not None and fresh and client in known.clients:
            return known.role
        refused = self._invalid.get(key)
        if refused is not None and self._clock() - refused < FRESH:
            raise _invalid_token()
        if key not in self._asking:
            clients = known.clients if known is not None and fresh else frozenset()
            task = asyncio.create_task(self._ask(key, token, client, clients))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(self._asking[key])

    def _forget(self, key: bytes, done: asyncio.Task[str]) -> None:
        del self._asking[key]
        if not done.cancelled():
            done.exception()  # read, so that nobody waiting for it is no error

    async def _ask(self, key: bytes, token: str, client: str, others: frozenset[str]) -> str:
        headers = {"Authorization": f"Bearer {token}", **({CLIENT: client} if client else {})}
        try:
            answer = await self._client.get(self._url, headers=headers)
        except httpx2.HTTPError:
            return self._use_last(key, "the service's API does not answer")
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._valid.pop(key, None)
            _remember(self._invalid, key, self._clock())
            raise _invalid_token()
        if answer.status_code != HTTPStatus.OK:
            return self._use_last(key, f"the service's API answers {answer.status_code}")
        role = _read_role(answer)
        clients = (others if len(others) < _CLIENTS else frozenset()) | {client}
        _remember(self._valid, key, _Known(role, self._clock(), clients))
        return role

    def _use_last(self, key: bytes, why: str) -> str:
        known = self._valid.get(key)
        if known is not None and self._clock() - known.when < GRACE:
            return known.role
        raise RefusedError(
            HTTPStatus.SERVICE_UNAVAILABLE, f"{why}, which checks the tokens; try again later"
        )


def _remember(cache: OrderedDict[bytes, _Value], key: bytes, value: _Value) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > _REMEMBERED:
        cache.popitem(last=False)


def _read_role(answer: httpx2.Response) -> str:
    try:
        found = answer.json()
        return str(found["role"])
    except (ValueError, KeyError, TypeError):
        raise RefusedError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the service's API does not say whose the token is; "
            "its gapsweep and MLflow's must be of one version",
        ) from None


def _invalid_token() -> RefusedError:
    return RefusedError(HTTPStatus.UNAUTHORIZED, "invalid token: unknown, expired or revoked")
