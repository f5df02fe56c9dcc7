"""The audit log: entries are added, read, and deleted when they are old; none is changed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Select, case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from service.base.errors import InputError
from service.base.storable import make_storable
from service.client.audit_actions import AuditAction
from service.server.store.callers import Actor
from service.server.store.database import Database
from service.server.store.job_records import AuditEntry, Page
from service.server.store.tables import AuditRow

DAY = 86_400.0
_LONGEST_DETAIL = 500


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Something that is done again and again, of which there is one entry a day.

    ``day`` is the number of the day since 1970, in UTC.
    """

    actor: Actor
    action: AuditAction
    sweep: str | None = None
    detail: str = ""
    day: int

    @property
    def key(self) -> str:
        """What tells it from others: a SHA-256 in hexadecimal."""
        a = self.actor
        facts = (a.user, a.token, a.address, self.action, self.sweep, self.detail, self.day)
        return hashlib.sha256(repr(facts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Times:
    """How often something was done, and when first and last, in Unix seconds."""

    times: int
    first: float
    last: float


class AuditStore:
    """The audit log of one service."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    @contextmanager
    def recording(
        self, actor: Actor, action: AuditAction, *, sweep: str | None = None, detail: str = ""
    ) -> Iterator[None]:
        """Make one transaction of what the block changes and of its entry: both or neither.

        Raises:
            DatabaseUnavailableError, DiskFullError: nothing was changed.
        """
        with self._database.transaction():
            yield
            self.record(actor, action, sweep=sweep, detail=detail)

    def record(
        self, actor: Actor, action: AuditAction, *, sweep: str | None = None, detail: str = ""
    ) -> None:
        """Add an entry, which is part of the transaction that the caller has begun, if any.

        ``detail`` is one line, and has no secrets.
        """
        now = self._clock()
        row = AuditRow(
            time=now,
            last=now,
            times=1,
            user=actor.user,
            token=actor.token,
            address=actor.address[:64],
            action=action.value,
            sweep=sweep,
            detail=_line(detail),
        )
        with self._database.writing() as session:
            session.add(row)

    def count(self, found: Mapping[Repeated, Times]) -> None:
        """Add what was done repeatedly to the entries of its day."""
        with self._database.writing() as session:
            for what, times in found.items():
                session.execute(_add_times(what, times, session.get_bind().dialect.name))

    def count_strangers(self, day: int) -> int:
        """How many entries a day has of requests without a valid token."""
        start = day * DAY
        query = select(func.count()).where(
            AuditRow.action == AuditAction.REQUEST_UNAUTHORIZED.value,
            AuditRow.last >= start,
            AuditRow.time < start + DAY,
        )
        with self._database.reading() as session:
            return session.scalar(query) or 0

    def page(
        self,
        *,
        user: str | None = None,
        actions: Collection[AuditAction] = (),
        sweep: str | None = None,
        since: float | None = None,
        until: float | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[AuditEntry]:
        """A page of entries, the newest first; times are Unix seconds, ``until`` excluded.

        Raises:
            InputError: the cursor is invalid.
        """
        query = select(AuditRow).order_by(AuditRow.id.desc())
        if user is not None:
            query = query.where(AuditRow.user == user)
        if actions:
            query = query.where(AuditRow.action.in_([a.value for a in actions]))
        if sweep is not None:
            query = query.where(AuditRow.sweep == sweep)
        if since is not None:
            query = query.where(AuditRow.last >= since)
        if until is not None:
            query = query.where(AuditRow.time < until)
        if cursor is not None:
            query = _after(query, cursor)
        with self._database.reading() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
        more = str(rows[limit - 1].id) if len(rows) > limit else None
        return Page(tuple(_to_entry(r) for r in rows[:limit]), more)

    def delete_before(self, when: float) -> None:
        """Delete the entries of what was last done before a time."""
        with self._database.writing() as session:
            session.execute(delete(AuditRow).where(AuditRow.last < when))


def _add_times(what: Repeated, times: Times, dialect: str) -> postgresql.Insert | sqlite.Insert:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    row = insert(AuditRow).values(
        time=times.first,
        last=times.last,
        times=times.times,
        user=what.actor.user,
        token=what.actor.token,
        address=what.actor.address[:64],
        action=what.action.value,
        sweep=what.sweep,
        detail=_line(what.detail),
        key=what.key,
    )
    new = row.excluded
    return row.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "times": AuditRow.times + new.times,
            "last": case((new.last > AuditRow.last, new.last), else_=AuditRow.last),
        },
    )


def _line(detail: str) -> str:
    text = " ".join(make_storable(detail).split())
    return text if len(text) <= _LONGEST_DETAIL else text[: _LONGEST_DETAIL - 1] + "…"


def _after(query: Select[AuditRow], cursor: str) -> Select[AuditRow]:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise InputError(f"invalid cursor {cursor!r}; use one that a list returned")
    return query.where(AuditRow.id < int(cursor))


def _to_entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        number=row.id,
        time=row.time,
        last=row.last,
        times=row.times,
        user=row.user,
        token=row.token,
        address=row.address,
        action=AuditAction(row.action),
        sweep=row.sweep,
        detail=row.detail,
    )
