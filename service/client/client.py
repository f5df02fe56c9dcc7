"""A typed client of the API, blocking or async, over the calls of :mod:`service.client.endpoints`.

client = Client("http://127.0.0.1:8080", token)
sweep = client.do(endpoints.submit(spec))
for number, event in client.events(sweep.sweep_id):
    ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from service.base.errors import ServerError
from service.client import endpoints
from service.client.endpoints import Call, raise_for_problem
from service.client.models import EventOut

T = TypeVar("T")
NumberedEvent = tuple[int, EventOut]

PATIENCE = 60.0
"""Seconds for which a stream is taken up again and again while its server is away."""
_LONGEST_WAIT = 5.0
_TIMEOUT = 30.0


class Client:
    """Makes calls and waits for their answers."""

    def __init__(self, server: str, token: str, http: httpx2.Client | None = None) -> None:
        self._server, self._token = server, token
        self._http = http or httpx2.Client(base_url=server, timeout=_TIMEOUT)

    def do(self, call: Call[T]) -> T:
        """Make a call.

        Raises:
            ServerError: the server cannot be reached, or went wrong.
            GapsweepError: what the server answered for.
        """
        for _ in range(call.attempts - 1):
            with suppress(httpx2.TransportError):
                return call.read(self._http.request(**_with_token(call.request(), self._token)))
        try:
            return call.read(self._http.request(**_with_token(call.request(), self._token)))
        except httpx2.TransportError as error:
            raise _unreachable(self._server, error) from error

    def save(self, call: Call[bytes], path: Path) -> None:
        """Write an answer's body into a file as it comes, whole or not at all.

        Raises:
            OSError: the file cannot be written.
            ServerError: the server cannot be reached, or went wrong.
            GapsweepError: what the server answered for.
        """
        temporary = path.with_name(f".{path.name}.part")
        request = _with_token(call.request(), self._token)
        try:
            with self._http.stream(**request) as answer:
                if answer.is_error:
                    answer.read()
                raise_for_problem(answer)
                with temporary.open("wb") as file:
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
            temporary.replace(path)
        except httpx2.TransportError as error:
            raise _unreachable(self._server, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def events(self, sweep_id: str, after: int = 0) -> Iterator[NumberedEvent]:
        """What happens to a sweep, until it has ended; a lost connection is taken up again.

        Raises:
            ServerError: the server stays away for :data:`PATIENCE` seconds.
            GapsweepError: what the server answered for.
        """
        patience = _Patience()
        while True:
            request = _with_token(endpoints.events(sweep_id, after).request(), self._token)
            try:
                with self._http.stream(**request, timeout=None) as answer:
                    if answer.is_error:
                        answer.read()
                    raise_for_problem(answer)
                    patience = _Patience()
                    for number, event in _parsed(answer.iter_lines()):
                        after = number
                        yield number, event
                if self.do(endpoints.sweep(sweep_id)).state.is_over:
                    return
                raise _broken_off(sweep_id)
            except (httpx2.TransportError, ServerError) as error:
                time.sleep(patience.wait(self._server, error))


class AsyncClient:
    """Makes calls from a coroutine."""

    def __init__(self, server: str, token: str, http: httpx2.AsyncClient | None = None) -> None:
        self._server, self._token = server, token
        self._http = http or httpx2.AsyncClient(base_url=server, timeout=_TIMEOUT)

    async def do(self, call: Call[T]) -> T:
        """As :meth:`Client.do`."""
        for _ in range(call.attempts - 1):
            with suppress(httpx2.TransportError):
                request = _with_token(call.request(), self._token)
                return call.read(await self._http.request(**request))
        try:
            return call.read(await self._http.request(**_with_token(call.request(), self._token)))
        except httpx2.TransportError as error:
            raise _unreachable(self._server, error) from error

    async def events(self, sweep_id: str, after: int = 0) -> AsyncIterator[NumberedEvent]:
        """As :meth:`Client.events`."""
        patience = _Patience()
        while True:
            request = _with_token(endpoints.events(sweep_id, after).request(), self._token)
            try:
                async with self._http.stream(**request, timeout=None) as answer:
                    if answer.is_error:
                        await answer.aread()
                    raise_for_problem(answer)
                    patience = _Patience()
                    lines: list[str] = []
                    async for line in answer.aiter_lines():
                        lines.append(line)
                        if line:
                            continue
                        for number, event in _parsed(lines):
                            after = number
                            yield number, event
                        lines = []
                if (await self.do(endpoints.sweep(sweep_id))).state.is_over:
                    return
                raise _broken_off(sweep_id)
            except (httpx2.TransportError, ServerError) as error:
                await asyncio.sleep(patience.wait(self._server, error))


class _Patience:
    """How long a server that is away is still waited for."""

    def __init__(self) -> None:
        self._until: float | None = None  # it counts from the first time the server is missed
        self._wait = 0.1

    def wait(self, server: str, error: Exception) -> float:
        """Seconds until the next attempt.

        Raises:
            ServerError: it has been away for too long.
        """
        now = time.monotonic()
        self._until = self._until or now + PATIENCE
        if now > self._until:
            raise error if isinstance(error, ServerError) else _unreachable(server, error)
        self._wait = min(2 * self._wait, _LONGEST_WAIT)
        return self._wait


def _parsed(lines: Iterable[str]) -> Iterator[NumberedEvent]:
    """Events out of the lines of a stream."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield int(fields["id"]), EventOut.model_validate_json(fields["data"])
            fields = {}


def _with_token(request: dict[str, Any], token: str) -> dict[str, Any]:
    return {**request, "headers": {**request["headers"], "Authorization": f"Bearer {token}"}}


def _unreachable(server: str, error: Exception) -> ServerError:
    return ServerError(f"the server {server} cannot be reached ({error})")


def _broken_off(sweep_id: str) -> ServerError:
    """A server that loses its database ends a stream in good order."""
    return ServerError(f"the server ended the events of {sweep_id}, which has not ended")
