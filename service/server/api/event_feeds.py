"""The events of sweeps for all listeners of a process, read from the store once for all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Annotated, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request

from service.base.errors import GapsweepError, LimitReachedError
from service.client.sweep_events import event_to_json
from service.server.store.job_records import StoredEvent, SweepNews
from service.server.sweep_service import SweepService

PERIOD = 0.5
"""Seconds between readings of the store."""
TOKEN_PERIOD = 2.0
"""Seconds between checks of the listeners' tokens."""
PING_PERIOD = 15.0
"""Seconds without an event after which a comment is sent: proxies close silent connections."""
_BATCH = 500
_KEPT = 1_000
"""The newest events of a sweep that are kept for listeners that are behind."""
_THREADS = 4
_PING = b": ping\n\n"
_INVALID = b": the token was revoked or has expired\n\n"
_log = logging.getLogger(__name__)

T = TypeVar("T")
Rendered = tuple[int, bytes]


@dataclass
class _Feed:
    """The newest events of a sweep: those with numbers above ``start``, up to ``newest``.

    Both are None until the store was read.
    """

    start: int | None = None
    newest: int | None = None
    over: bool = False
    kept: deque[Rendered] = field(default_factory=deque)

    def find_after(self, number: int) -> Sequence[Rendered] | None:
        """The events above a number; None if not all of them are kept."""
        if self.start is None or number < self.start:
            return None
        newer = tuple(takewhile(lambda found: found[0] > number, reversed(self.kept)))
        return newer[::-1]

    def add(self, found: Sequence[Rendered]) -> None:
        """Keep new events."""
        self.kept.extend(found)
        self.newest = found[-1][0]
        while len(self.kept) > _KEPT:
            self.start = self.kept.popleft()[0]


@dataclass(eq=False)
class _Listener:
    """A stream: whose it is, what it follows, and whether its token is valid."""

    sweep_id: str
    user: str
    token: str
    valid: bool = True
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class EventFeeds:
    """Follows the sweeps that somebody listens to, while somebody does.

    One task reads the store: which of the sweeps have news in one query, and each sweep's new
    events once, however many listen to it.
    """

    def __init__(self, service: SweepService, clock: Callable[[], float] = time.monotonic) -> None:
        self._service, self._clock = service, clock
        self._limit = service.settings.limits.streams
        self._listeners: set[_Listener] = set()
        self._feeds: dict[str, _Feed] = {}
        self._threads = CapacityLimiter(_THREADS)
        self._task: asyncio.Task[None] | None = None
        self._checked = 0.0
        self._error: str | None = None

    def count(self, user: str) -> int:
        """How many streams a user has open in this process."""
        return sum(listener.user == user for listener in self._listeners)

    async def follow(
        self, sweep_id: str, last: int, *, over: bool, user: str, token: str
    ) -> AsyncIterator[bytes]:
        """The events of a sweep above the number ``last``, as a server-sent event stream.

        It ends when the sweep has ended (``over``: it had before), or when the token is no longer
        valid.
        """
        with self._listen(sweep_id, user, token) as listener:
            while listener.valid:
                listener.changed.clear()
                feed = self._feeds[sweep_id]
                ended, found = feed.over or over, feed.find_after(last)
                try:
                    found = await self._read(sweep_id, last) if found is None else found
                except GapsweepError as error:
                    _log.warning("a stream of %s ends: %s", sweep_id, error)
                    return  # its client connects again
                if found:
                    last = found[-1][0]
                    yield b"".join(text for _, text in found)
                elif ended:
                    return
                elif not await _wait(listener.changed, PING_PERIOD):
                    yield _PING
            yield _INVALID

    def check_room(self, user: str) -> None:
        """Check that a user may open one more stream.

        Raises:
            LimitReachedError: the user may not.
        """
        used = self.count(user)
        if used >= self._limit:
            raise LimitReachedError(
                f"{user} has {used} streams of events open; the limit of a user is {self._limit} "
                "(--streams-per-user of the server): close some, or follow fewer sweeps at once"
            )

    @contextmanager
    def _listen(self, sweep_id: str, user: str, token: str) -> Iterator[_Listener]:
        listener = _Listener(sweep_id, user, token)
        self._listeners.add(listener)
        self._feeds.setdefault(sweep_id, _Feed())
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if all(other.sweep_id != sweep_id for other in self._listeners):
                self._feeds.pop(sweep_id, None)

    async def _run(self) -> None:
        """Read the store again and again, until nobody listens."""
        while self._listeners:
            try:
                await self._read_news()
                if self._clock() - self._checked >= TOKEN_PERIOD:
                    await self._check_tokens()
                    self._checked = self._clock()
                self._error = None
            except Exception as error:  # the store may not answer for a while
                if str(error) != self._error:
                    _log.warning("events are not read: %s", error)
                self._error = str(error)
            await asyncio.sleep(PERIOD)

    async def _read_news(self) -> None:
        followed = tuple(self._feeds)
        news = await self._call(self._service.progress.find_news, followed)
        changed = set[str]()
        for sweep_id in followed:
            feed = self._feeds.get(sweep_id)
            if feed is not None and await self._update(sweep_id, feed, news.get(sweep_id)):
                changed.add(sweep_id)
        for listener in tuple(self._listeners):
            if listener.sweep_id in changed:
                listener.changed.set()

    async def _update(self, sweep_id: str, feed: _Feed, news: SweepNews | None) -> bool:
        """Read a sweep's new events; whether there is something for its listeners.

        A sweep that is no longer there is over.
        """
        if news is None:
            feed.over = True
            return True
        first, before = feed.newest is None, feed.over
        if feed.newest is None:
            feed.start = feed.newest = news.newest
        found = await self._read(sweep_id, feed.newest) if news.newest > feed.newest else ()
        if found:
            feed.add(found)
        feed.over = news.over and feed.newest >= news.newest
        return first or bool(found) or feed.over != before

    async def _check_tokens(self) -> None:
        valid = await self._call(
            self._service.tokens.find_valid, {listener.token for listener in self._listeners}
        )
        for listener in tuple(self._listeners):
            if listener.token not in valid:
                listener.valid = False
                listener.changed.set()

    async def _read(self, sweep_id: str, after: int) -> Sequence[Rendered]:
        found = await self._call(self._service.progress.events, sweep_id, after, _BATCH)
        return [(stored.number, _render(stored)) for stored in found]

    async def _call(self, work: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(work, *arguments, limiter=self._threads)


def _render(stored: StoredEvent) -> bytes:
    data = event_to_json(stored.event).decode()
    return f"event: {stored.event.kind}\ndata: {data}\nid: {stored.number}\n\n".encode()


async def _wait(changed: asyncio.Event, seconds: float) -> bool:
    """Whether it is set within so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(changed.wait(), seconds)
    return changed.is_set()


async def get_feeds(request: Request) -> EventFeeds:
    """The app's feeds."""
    feeds: EventFeeds = request.app.state.feeds
    return feeds


TheFeeds = Annotated[EventFeeds, Depends(get_feeds)]
