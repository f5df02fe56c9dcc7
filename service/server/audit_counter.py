"""Gathers what is done again and again, and adds it to the audit log: one entry a day each.

To use a token is no change: what is gathered here and cannot be stored is logged and tried again,
and the request is answered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from service.base.errors import GapsweepError
from service.client.audit_actions import AuditAction
from service.server.store.audit_store import DAY, AuditStore, Repeated, Times
from service.server.store.callers import Actor
from service.server.store.token_store import TokenStore

PERIOD = 10.0
"""Seconds between writes; what is new is written at once."""
MAX_STRANGERS = 1_000
"""Entries a day of requests without a valid token; later addresses share one."""
OTHER_ADDRESSES = "other addresses"
_MOST_KNOWN = 50_000
_USES = (AuditAction.TOKEN_USE, AuditAction.MLFLOW_USE)
_log = logging.getLogger(__name__)


class AuditCounter:
    """Counts for the audit log of one process of the service."""

    def __init__(
        self, audit: AuditStore, tokens: TokenStore, clock: Callable[[], float] = time.time
    ) -> None:
        self._audit, self._tokens, self._clock = audit, tokens, clock
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._found: dict[Repeated, Times] = {}
        self._known: set[Repeated] = set()
        self._day, self._strangers = -1, 0
        self._written = 0.0

    def count(
        self, actor: Actor, action: AuditAction, *, sweep: str | None = None, detail: str = ""
    ) -> None:
        """Count something that was done now."""
        now = self._clock()
        day = int(now // DAY)
        what = Repeated(actor=actor, action=action, sweep=sweep, detail=detail, day=day)
        with self._lock:
            self._begin_day(day)
            if what not in self._known:
                what = self._limit(what)
            new = what not in self._known
            self._known.add(what)
            self._add(what, Times(times=1, first=now, last=now))
            due = new or not 0 <= now - self._written < PERIOD
        if due:
            self.write()

    def write(self) -> None:
        """Store what was counted."""
        with self._writing:
            with self._lock:
                found, self._found = self._found, {}
                self._written = self._clock()
            if not found:
                return
            try:
                self._store(found)
            except GapsweepError as error:
                _log.warning("the audit log is not written, and will be tried again: %s", error)
                with self._lock:
                    for what, times in found.items():
                        self._add(what, times)

    def _store(self, found: dict[Repeated, Times]) -> None:
        self._audit.count(found)
        for what, times in found.items():
            actor = what.actor
            if what.action in _USES and actor.user and actor.token:
                self._tokens.mark_used(actor.user, actor.token, times.last, actor.address)

    def _begin_day(self, day: int) -> None:
        if day != self._day or len(self._known) > _MOST_KNOWN:
            self._known.clear()
        if day != self._day:
            self._day, self._strangers = day, self._count_strangers(day)

    def _count_strangers(self, day: int) -> int:
        try:
            return self._audit.count_strangers(day)
        except GapsweepError:
            return 0

    def _limit(self, what: Repeated) -> Repeated:
        """The same for an address; above the limit on strangers one that stands for all others."""
        if what.action is not AuditAction.REQUEST_UNAUTHORIZED:
            return what
        if self._strangers >= MAX_STRANGERS:
            return replace(what, actor=Actor(user=None, address=OTHER_ADDRESSES), detail="")
        self._strangers += 1
        return what

    def _add(self, what: Repeated, more: Times) -> None:
        before = self._found.get(what)
        self._found[what] = (
            more
            if before is None
            else Times(
                times=before.times + more.times,
                first=min(before.first, more.first),
                last=max(before.last, more.last),
            )
        )
