"""A typed client of the API, blocking or async, for the calls of :mod:`service.client.endpoints`.

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
from service.client.events import SweepEvent, parse_event

T = TypeVar("T")
NumberedEvent = tuple[int, SweepEvent]

PATIENCE = 60.0
"""Seconds for which a stream's server may not answer before reconnecting is given up."""
_LONGEST_WAIT = 5.0
_TIMEOUT = 30.0


class Client:
    """A blocking client."""

    def __init__(self, server: str, token: str, http: httpx2.Client | None = None) -> None:
        self._server, self._token = server, token
        self._http = http or httpx2.Client(base_url=server, timeout=_TIMEOUT)

    def do(self, call: Call[T]) -> T:
        """Make a call and return its parsed response.

        Raises:
            ServerError: the server cannot be reached, or failed.
            GapsweepError: the server refused the call.
        """
        for _ in range(call.max_tries - 1):
            with suppress(httpx2.TransportError):
                return call.read(self._http.request(**_with_token(call.request(), self._token)))
        try:
            return call.read(self._http.request(**_with_token(call.request(), self._token)))
        except httpx2.TransportError as error:
            raise _unreachable(self._server, error) from error

    def save(self, call: Call[bytes], path: Path) -> None:
        """Write a response's body to a file atomically, without loading it into memory.

        Raises:
            OSError: the file cannot be written.
            ServerError: the server cannot be reached, or failed.
            GapsweepError: the server refused the call.
        """
        temporary = path.with_name(f".{path.name}.part")
        request = _with_token(call.request(), self._token)
        try:
            with self._http.stream(**request) as response:
                if response.is_error:
                    response.read()
                raise_for_problem(response)
                with temporary.open("wb") as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
            temporary.replace(path)
        except httpx2.TransportError as error:
            raise _unreachable(self._server, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def events(self, sweep_id: str, after: int = 0) -> Iterator[NumberedEvent]:
        """A sweep's numbered events until it has ended; reconnects when the connection is lost.

        Raises:
            ServerError: the server did not answer for :data:`PATIENCE` seconds.
            GapsweepError: the server refused the call.
        """
        patience = _Patience()
        while True:
            request = _with_token(endpoints.events(sweep_id, after).request(), self._token)
            try:
                with self._http.stream(**request, timeout=None) as response:
                    if response.is_error:
                        response.read()
                    raise_for_problem(response)
                    patience = _Patience()
                    for number, event in _parse_events(response.iter_lines()):
                        after = number
                        yield number, event
                if self.do(endpoints.sweep(sweep_id)).state.is_over:
                    return
                raise _closed_early(sweep_id)
            except (httpx2.TransportError, ServerError) as error:
                time.sleep(patience.wait(self._server, error))


class AsyncClient:
    """An async client."""

    def __init__(self, server: str, token: str, http: httpx2.AsyncClient | None = None) -> None:
        self._server, self._token = server, token
        self._http = http or httpx2.AsyncClient(base_url=server, timeout=_TIMEOUT)

    async def do(self, call: Call[T]) -> T:
        """As :meth:`Client.do`."""
        for _ in range(call.max_tries - 1):
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
                async with self._http.stream(**request, timeout=None) as response:
                    if response.is_error:
                        await response.aread()
                    raise_for_problem(response)
                    patience = _Patience()
                    lines: list[str] = []
                    async for line in response.aiter_lines():
                        lines.append(line)
                        if line:
                            continue
                        for number, event in _parse_events(lines):
                            after = number
                            yield number, event
                        lines = []
                if (await self.do(endpoints.sweep(sweep_id))).state.is_over:
                    return
                raise _closed_early(sweep_id)
            except (httpx2.TransportError, ServerError) as error:
                await asyncio.sleep(patience.wait(self._server, error))


class _Patience:
    """The waiting times of a client that reconnects."""

    def __init__(self) -> None:
        self._until: float | None = None  # set when the server does not answer for the first time
        self._wait = 0.1

    def wait(self, server: str, error: Exception) -> float:
        """Seconds to wait before the next try.

        Raises:
            ServerError: the server has not answered for :data:`PATIENCE` seconds.
        """
        now = time.monotonic()
        self._until = self._until or now + PATIENCE
        if now > self._until:
            raise error if isinstance(error, ServerError) else _unreachable(server, error)
        self._wait = min(2 * self._wait, _LONGEST_WAIT)
        return self._wait


def _parse_events(lines: Iterable[str]) -> Iterator[NumberedEvent]:
    """Events from the lines of a server-sent event stream."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield int(fields["id"]), parse_event(fields["data"])
            fields = {}


def _with_token(request: dict[str, Any], token: str) -> dict[str, Any]:
    return {**request, "headers": {**request["headers"], "Authorization": f"Bearer {token}"}}


def _unreachable(server: str, error: Exception) -> ServerError:
    return ServerError(f"the server {server} cannot be reached ({error})")


def _closed_early(sweep_id: str) -> ServerError:
    """A server that loses its database closes a stream properly."""
    return ServerError(f"event stream closed before {sweep_id} finished")
