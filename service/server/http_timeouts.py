"""HTTP connections that do not wait for ever for a client."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT = 15.0
"""Seconds from the connection, or from the first byte, until the head of a request is there."""
WRITE_TIMEOUT = 60.0
"""Seconds for which a client may read nothing while the server has something for it."""


class PatientProtocol(H11Protocol):
    """Closes a connection whose request does not arrive, or whose response is not read.

    uvicorn limits only the time between two requests. A body that does not arrive is refused by
    the route that reads it.
    """

    head_timeout, write_timeout = HEAD_TIMEOUT, WRITE_TIMEOUT

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Wait for the head of the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting_for_head()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request; without its whole head, the time goes on."""
        super().data_received(data)
        if self._is_busy():
            self._stop_waiting_for_head()
        elif self._head_timer is None:
            self._wait_for_head()

    def pause_writing(self) -> None:
        """The client does not read as fast as the server writes."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """The client reads."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Some of the response may wait for the client; closing the connection would wait, too."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_timeout, self._end_unread)

    def _end_unread(self) -> None:
        self._write_timer = None
        unread = self.transport.get_write_buffer_size() > 0
        if unread and (self.flow.write_paused or not self._is_busy()):
            self.transport.abort()

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout, self._end_without_head)

    def _end_without_head(self) -> None:
        self._head_timer = None
        if not self._is_busy():
            self.transport.abort()

    def _is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _stop_waiting_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = None

    def _stop_waiting_for_reader(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
        self._write_timer = None
