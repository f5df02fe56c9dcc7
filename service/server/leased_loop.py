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
ROUND_LIMIT = 60.0
"""Seconds after which a round, or a time in which every round fails, is a fault of the service."""
HOLDING_LIMIT = 300.0
"""Seconds of one round after which the lease is no longer extended: another process takes over."""
_MIN_PAUSE = 0.2
"""Seconds between rounds at least, however often the loop is woken."""
_log = logging.getLogger(__name__)


class LeasedLoop:
    """Runs ``work`` repeatedly on its own thread, while it holds the lease of its name.

    A round that raises is repeated: the store or the cluster may not answer for a while.
    ``on_error`` is called after each round that raised. ``last_round`` is when a round last ended,
    in Unix seconds, and ``round_seconds`` how long it took.
    """

    def __init__(
        self,
        name: str,
        leases: LeaseStore,
        work: Callable[[], None],
        period: float,
        on_error: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self._leases, self._work = name, leases, work
        self._period, self._on_error, self._clock = period, on_error, clock
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lease_valid_until = 0.0
        self._alive_until: float | None = None
        self._good_until = 0.0
        self.last_round: float | None = None
        self.round_seconds: float | None = None
        self.error: str | None = None

    def start(self) -> None:
        """Start the thread."""
        self._alive_until = self._good_until = self._clock()
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

    @property
    def age(self) -> float:
        """Seconds since it last did its work, or left it to the process that has the lease."""
        return 0.0 if self._alive_until is None else self._clock() - self._good_until

    def find_fault(self) -> str | None:
        """What is wrong with the loop, in words; None if it works or was not started.

        That the cluster or the database does not answer is no fault of the loop.
        """
        if self._alive_until is None or self._stopping.is_set():
            return None
        if not self._thread.is_alive():
            return f"the background loop {self.name!r} has ended; restart the service"
        silent = self._clock() - self._alive_until
        if silent <= ROUND_LIMIT + self._period:
            return None
        why = f"every round fails ({self.error})" if self.error else "its round does not end"
        return (
            f"the background loop {self.name!r} has done nothing for {silent:.0f} s: {why}; "
            "the server's log says more"
        )

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._run_round()
                self._stopping.wait(_MIN_PAUSE)
                self._wake.wait(self._period)
                self._wake.clear()
            with suppress(GapsweepError):
                self._leases.release(self.name)
        except BaseException:
            _log.critical("the background loop %s has ended", self.name, exc_info=True)
            raise

    def _run_round(self) -> None:
        try:
            if self._acquire_lease():
                start = self._clock()
                with self._keep_lease():
                    self._work()
                self.last_round, self.round_seconds = time.time(), self._clock() - start
            self.error = None
            self._alive_until = self._good_until = self._clock()
        except GapsweepError as error:
            self._log_once(redact(str(error)))
            self._handle_error()
            self._alive_until = self._clock()
        except Exception as error:  # the loop must survive every round
            _log.exception("unhandled error in a round of %s", self.name)
            self._log_once(f"{type(error).__name__}")
            self._handle_error()

    def _handle_error(self) -> None:
        try:
            self._on_error()
        except Exception:
            _log.exception("unhandled error after a round of %s", self.name)

    def _acquire_lease(self) -> bool:
        """Whether this process holds the lease; it is extended after a third of its time."""
        now = time.monotonic()
        if now >= self._lease_valid_until:
            acquired = self._leases.acquire(self.name, LEASE)
            self._lease_valid_until = now + LEASE / 3 if acquired else 0.0
            return acquired
        return True

    @contextmanager
    def _keep_lease(self) -> Iterator[None]:
        """Extend the lease for as long as the block takes, up to :data:`HOLDING_LIMIT`."""
        over, start = threading.Event(), time.monotonic()

        def extend() -> None:
            while not over.wait(LEASE / 3):
                if time.monotonic() - start > HOLDING_LIMIT:
                    _log.error("a round of %s does not end; it gives up its lease", self.name)
                    return
                try:
                    self._leases.acquire(self.name, LEASE)
                except Exception as error:  # the next try may succeed
                    _log.warning("the lease of %s is not extended: %s", self.name, error)

        extending = threading.Thread(target=extend, name=f"{self.name}-lease", daemon=True)
        extending.start()
        try:
            yield
        finally:
            over.set()
            extending.join()

    def _log_once(self, words: str) -> None:
        """Log an error, but not again in every round."""
        if words != self.error:
            _log.warning("%s: %s", self.name, words)
        self.error = words
