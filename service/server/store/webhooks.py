"""Who is called when a sweep's state changes, and how far each has heard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from sqlalchemy import delete, func, select, update

from service.server.store.database import Database, insert_new
from service.server.store.job_records import Event, Hook
from service.server.store.progress import event_of
from service.server.store.tables import EventRow, WebhookRow
from service.server.store.transitions import STATE_CHANGED


class Webhooks:
    """The addresses that one service calls."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def settle(self, urls: Iterable[str]) -> None:
        """Call these from now on, and no others; a new one hears of what happens from here on."""
        wanted = sorted(set(urls))
        with self._database.writing() as session:
            session.execute(delete(WebhookRow).where(WebhookRow.url.not_in(wanted)))
            last = session.scalar(select(func.max(EventRow.id))) or 0
            rows = [{"url": u, "event": last, "tries": 0, "next_try": 0.0} for u in wanted]
            insert_new(session, WebhookRow, rows, ["url"])

    def due(self) -> tuple[Hook, ...]:
        """Those that may be called now."""
        query = select(WebhookRow).where(WebhookRow.next_try <= self._clock())
        with self._database.reading() as session:
            return tuple(
                Hook(url=r.url, event=r.event, tries=r.tries) for r in session.scalars(query)
            )

    def next_change(self, after: int) -> Event | None:
        """The first change of a state whose number is above ``after``."""
        query = (
            select(EventRow)
            .where(EventRow.id > after, EventRow.kind == STATE_CHANGED)
            .order_by(EventRow.id)
            .limit(1)
        )
        with self._database.reading() as session:
            row = session.scalars(query).first()
            return None if row is None else event_of(row)

    def heard(self, url: str, event: int) -> None:
        """It has taken everything up to an event, or will not."""
        self._set(url, event=event, tries=0, next_try=0.0)

    def missed(self, url: str, tries: int, wait: float) -> None:
        """It did not take one; it is called again after ``wait`` seconds."""
        self._set(url, tries=tries, next_try=self._clock() + wait)

    def _set(self, url: str, **values: float) -> None:
        with self._database.writing() as session:
            session.execute(update(WebhookRow).where(WebhookRow.url == url).values(**values))
