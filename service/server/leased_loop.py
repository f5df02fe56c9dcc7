"""A loop that runs once for a service, in whichever of its processes has the lease."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from service.base.errors import GapsweepError
from service.base.redaction import redacted
from service.server.store.leases import Leases

LEASE = 15.0
"""Seconds after which another process may go on where this one stopped."""
_REST = 0.2
"""Seconds between rounds however often it is woken."""
_log = logging.getLogger(__name__)


class Keeper:
    """Does a round again and again on a thread of its own, while it has the lease of its name.

    A round that raises is begun again: the store or the cluster may be away for a while.
    """

    def __init__(
        self,
        name: str,
        leases: Leases,
        work: Callable[[], None],
        period: float,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._leases, self._work = name, leases, work
        self._period, self._on_trouble = period, on_trouble
        self._wake, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._sure_until = 0.0
        self.last_round: float | None = None
        self.trouble: str | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Do the next round now."""
        self._wake.set()

    def stop(self) -> None:
        """End after the round that runs, and let another process begin at once."""
        self._over.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=LEASE)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                if self._has_the_lease():
                    with self._held():
                        self._work()
                    self.last_round = time.time()
                self.trouble = None
            except GapsweepError as error:
                self._say(redacted(str(error)))
                self._on_trouble()
            except Exception as error:  # a round must not be the last one
                _log.exception("a round of %s broke", self._name)
                self._say(f"{type(error).__name__}")
                self._on_trouble()
            self._over.wait(_REST)
            self._wake.wait(self._period)
            self._wake.clear()
        try:
            self._leases.give_back(self._name)
        except GapsweepError:
            return

    def _has_the_lease(self) -> bool:
        """Taken anew when a third of it is over: a round is much shorter."""
        now = time.monotonic()
        if now >= self._sure_until:
            taken = self._leases.take(self._name, LEASE)
            self._sure_until = now + LEASE / 3 if taken else 0.0
            return taken
        return True

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the lease however long the block takes."""
        over = threading.Event()

        def hold() -> None:
            while not over.wait(LEASE / 3):
                with suppress(GapsweepError):
                    self._leases.take(self._name, LEASE)

        holding = threading.Thread(target=hold, name=f"{self._name}-lease", daemon=True)
        holding.start()
        try:
            yield
        finally:
            over.set()
            holding.join()

    def _say(self, words: str) -> None:
        """Once, not every round."""
        if words != self.trouble:
            _log.warning("%s: %s", self._name, words)
        self.trouble = words
