"""The webhooks to call when a sweep's state changes, and what each has received."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from sqlalchemy import delete, func, select, update

from service.client.sweep_events import StateChanged
from service.server.store.database import Database, insert_new
from service.server.store.event_rows import to_event
from service.server.store.job_records import StoredEvent, Webhook
from service.server.store.tables import EventRow, WebhookRow


class WebhookStore:
    """The webhooks of one service."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def set_urls(self, urls: Iterable[str]) -> None:
        """Replace the webhooks by these URLs; a new one receives the events from now on."""
        wanted = sorted(set(urls))
        with self._database.writing() as session:
            session.execute(delete(WebhookRow).where(WebhookRow.url.not_in(wanted)))
            last = session.scalar(select(func.max(EventRow.id))) or 0
            rows = [{"url": u, "event": last, "tries": 0, "next_try": 0.0} for u in wanted]
            insert_new(session, WebhookRow, rows, ["url"])

    def due(self) -> tuple[Webhook, ...]:
        """The webhooks that may be called now: their waiting time has passed."""
        query = select(WebhookRow).where(WebhookRow.next_try <= self._clock())
        with self._database.reading() as session:
            return tuple(
                Webhook(url=r.url, event=r.event, tries=r.tries) for r in session.scalars(query)
            )

    def next_change(self, after: int) -> StoredEvent | None:
        """The first state change whose number is above ``after``."""
        query = (
            select(EventRow)
            .where(EventRow.id > after, EventRow.kind == StateChanged.kind)
            .order_by(EventRow.id)
            .limit(1)
        )
        with self._database.reading() as session:
            row = session.scalars(query).first()
            return None if row is None else to_event(row)

    def mark_delivered(self, url: str, event: int) -> None:
        """Record that the events up to this one are delivered, or given up."""
        self._set(url, event=event, tries=0, next_try=0.0)

    def mark_failed(self, url: str, tries: int, wait: float) -> None:
        """Record a failed call; the webhook is due again after ``wait`` seconds."""
        self._set(url, tries=tries, next_try=self._clock() + wait)

    def _set(self, url: str, **values: float) -> None:
        with self._database.writing() as session:
            session.execute(update(WebhookRow).where(WebhookRow.url == url).values(**values))
