"""A background loop of which a service runs one, in whichever of its processes has the lease."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from service.base.errors import GapsweepError
from service.base.redaction import redact
from service.server.store.lease_store import LeaseStore

LEASE = 15.0
"""Seconds after which another process can take over from one that stopped."""
_MIN_PAUSE = 0.2
"""Seconds between rounds at least, however often the loop is woken."""
_log = logging.getLogger(__name__)


class LeasedLoop:
    """Runs ``work`` repeatedly on its own thread, while it holds the lease of its name.

    A round that raises is repeated: the store or the cluster may not answer for a while.
    ``on_error`` is called after each round that raised.
    """

    def __init__(
        self,
        name: str,
        leases: LeaseStore,
        work: Callable[[], None],
        period: float,
        on_error: Callable[[], None] = lambda: None,
    ) -> None:
        self._name, self._leases, self._work = name, leases, work
        self._period, self._on_error = period, on_error
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lease_valid_until = 0.0
        self.last_round: float | None = None
        self.error: str | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Run the next round now."""
        self._wake.set()

    def stop(self) -> None:
        """Stop after the current round and release the lease."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=LEASE)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._acquire_lease():
                    with self._keep_lease():
                        self._work()
                    self.last_round = time.time()
                self.error = None
            except GapsweepError as error:
                self._log_once(redact(str(error)))
                self._on_error()
            except Exception as error:  # the loop must survive every round
                _log.exception("unhandled error in a round of %s", self._name)
                self._log_once(f"{type(error).__name__}")
                self._on_error()
            self._stopping.wait(_MIN_PAUSE)
            self._wake.wait(self._period)
            self._wake.clear()
        try:
            self._leases.release(self._name)
        except GapsweepError:
            return

    def _acquire_lease(self) -> bool:
        """Whether this process holds the lease; it is extended after a third of its time."""
        now = time.monotonic()
        if now >= self._lease_valid_until:
            acquired = self._leases.acquire(self._name, LEASE)
            self._lease_valid_until = now + LEASE / 3 if acquired else 0.0
            return acquired
        return True

    @contextmanager
    def _keep_lease(self) -> Iterator[None]:
        """Extend the lease for as long as the block takes."""
        over = threading.Event()

        def extend() -> None:
            while not over.wait(LEASE / 3):
                with suppress(GapsweepError):
                    self._leases.acquire(self._name, LEASE)

        extending = threading.Thread(target=extend, name=f"{self._name}-lease", daemon=True)
        extending.start()
        try:
            yield
        finally:
            over.set()
            extending.join()

    def _log_once(self, words: str) -> None:
        """Log an error, but not again in every round."""
        if words != self.error:
            _log.warning("%s: %s", self._name, words)
        self.error = words
