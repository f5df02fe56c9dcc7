"""A typed client of the API, blocking or async, for the calls of :mod:`service.client.endpoints`.

client = Client("http://127.0.0.1:8080", token)
sweep = client.do(endpoints.submit(spec))
for number, event in client.events(sweep.sweep_id):
    ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from tenacity import (
    AsyncRetrying,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
)

from service.base.errors import ServerError
from service.base.files import replace_file
from service.client import endpoints
from service.client.endpoints import Call, raise_for_problem
from service.client.sweep_events import SweepEvent, parse_event

T = TypeVar("T")
NumberedEvent = tuple[int, SweepEvent]

PATIENCE = 60.0
"""Seconds for which a stream's server may not answer before reconnecting is given up."""
_LONGEST_WAIT = 5.0
_RECONNECT_PAUSE = 0.2
_TIMEOUT = 30.0


class Client:
    """A blocking client."""

    def __init__(
        self,
        server: str,
        token: str,
        http: httpx2.Client | None = None,
        *,
        on_response: Callable[[httpx2.Response], None] | None = None,
    ) -> None:
        """``on_response`` is called with every response, before it is read."""
        self._server, self._token = server, token
        self._http = http or httpx2.Client(base_url=server, timeout=_TIMEOUT)
        if on_response is not None:
            self._http.event_hooks["response"].append(on_response)

    def do(self, call: Call[T]) -> T:
        """Make a call and return its parsed response.

        Raises:
            ServerError: the server cannot be reached, or failed.
            GapsweepError: the server refused the call.
        """
        request = _with_token(call.request(), self._token)
        try:
            return call.read(Retrying(**_repeat_call(call))(self._http.request, **request))
        except httpx2.TransportError as error:
            raise _make_unreachable_error(self._server, error) from error

    def save(self, call: Call[bytes], path: Path) -> None:
        """Write a response's body to a file atomically, without loading it into memory.

        Raises:
            OSError: the file cannot be written.
            ServerError: the server cannot be reached, or failed.
            GapsweepError: the server refused the call.
        """
        request = _with_token(call.request(), self._token)
        try:
            with self._http.stream(**request) as response:
                if response.is_error:
                    response.read()
                raise_for_problem(response)
                with replace_file(path) as temporary, temporary.open("wb") as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
        except httpx2.TransportError as error:
            raise _make_unreachable_error(self._server, error) from error

    def events(self, sweep_id: str, after: int = 0) -> Iterator[NumberedEvent]:
        """A sweep's numbered events until it has ended; reconnects when the connection is lost.

        Raises:
            ServerError: the server did not answer for :data:`PATIENCE` seconds.
            GapsweepError: the server refused the call.
        """
        retrying = Retrying(**_wait_for_server())
        while True:
            opened = retrying(self._open_events, sweep_id, after)
            with closing(opened) as response, suppress(httpx2.TransportError):
                for number, event in _parse_events(response.iter_lines()):
                    after = number
                    yield number, event
                if retrying(self.do, endpoints.sweep(sweep_id)).state.is_over:
                    return  # the stream was closed at its end
            time.sleep(_RECONNECT_PAUSE)

    def _open_events(self, sweep_id: str, after: int) -> httpx2.Response:
        request = _with_token(endpoints.events(sweep_id, after).request(), self._token)
        try:
            opened = self._http.build_request(**request, timeout=None)
            response = self._http.send(opened, stream=True)
            if response.is_error:
                with closing(response):
                    response.read()
        except httpx2.TransportError as error:
            raise _make_unreachable_error(self._server, error) from error
        raise_for_problem(response)
        return response


class AsyncClient:
    """An async client."""

    def __init__(self, server: str, token: str, http: httpx2.AsyncClient | None = None) -> None:
        self._server, self._token = server, token
        self._http = http or httpx2.AsyncClient(base_url=server, timeout=_TIMEOUT)

    async def do(self, call: Call[T]) -> T:
        """As :meth:`Client.do`."""
        request = _with_token(call.request(), self._token)
        try:
            return call.read(
                await AsyncRetrying(**_repeat_call(call))(self._http.request, **request)
            )
        except httpx2.TransportError as error:
            raise _make_unreachable_error(self._server, error) from error

    async def events(self, sweep_id: str, after: int = 0) -> AsyncIterator[NumberedEvent]:
        """As :meth:`Client.events`."""
        retrying = AsyncRetrying(**_wait_for_server())
        while True:
            response: httpx2.Response = await retrying(self._open_events, sweep_id, after)
            async with aclosing(response):
                with suppress(httpx2.TransportError):
                    lines: list[str] = []
                    async for line in response.aiter_lines():
                        lines.append(line)
                        if line:
                            continue
                        for number, event in _parse_events(lines):
                            after = number
                            yield number, event
                        lines = []
                    if (await retrying(self.do, endpoints.sweep(sweep_id))).state.is_over:
                        return
            await asyncio.sleep(_RECONNECT_PAUSE)

    async def _open_events(self, sweep_id: str, after: int) -> httpx2.Response:
        request = _with_token(endpoints.events(sweep_id, after).request(), self._token)
        try:
            opened = self._http.build_request(**request, timeout=None)
            response = await self._http.send(opened, stream=True)
            if response.is_error:
                async with aclosing(response):
                    await response.aread()
        except httpx2.TransportError as error:
            raise _make_unreachable_error(self._server, error) from error
        raise_for_problem(response)
        return response


def _repeat_call(call: Call[Any]) -> dict[str, Any]:
    """Send a call again at once if the connection broke, as often as the call may be sent."""
    return {
        "stop": stop_after_attempt(call.max_tries),
        "retry": retry_if_exception_type(httpx2.TransportError),
        "reraise": True,
    }


def _wait_for_server() -> dict[str, Any]:
    """Wait for a server that does not answer, for :data:`PATIENCE` seconds at a time."""
    return {
        "stop": stop_after_delay(PATIENCE),
        "wait": wait_exponential(multiplier=0.2, max=_LONGEST_WAIT),
        "retry": retry_if_exception_type(ServerError),
        "reraise": True,
    }


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


def _make_unreachable_error(server: str, error: Exception) -> ServerError:
    return ServerError(f"the server {server} cannot be reached ({error})")
