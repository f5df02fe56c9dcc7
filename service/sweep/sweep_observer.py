"""Observers of a whole sweep: progress displays, a server's recorder, a caller's callback."""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.study.events import EpochEnded, Observer, TrialEvent
from service.sweep.lost_items import Losses, describe_error
from service.sweep.sweep_record import Sweep

_log = logging.getLogger(__name__)


class SweepObserver(Observer):
    """An observer that also receives the sweep before the first event.

    ``title`` names it where its errors are reported.
    """

    title = "an observer"

    def begin(self, sweep: Sweep, planned: int, seconds: float | None) -> None:
        """Take the sweep, its planned number of trials, and the seconds left (None: no limit)."""


class GuardedObserver(SweepObserver):
    """Passes everything on to an observer, whose errors do not reach the sweep.

    An event at which it raised is skipped and counted in ``losses``; it receives the next one. The
    first error is logged when it happens.
    """

    def __init__(self, inner: SweepObserver) -> None:
        self.inner, self.title = inner, inner.title
        self.losses = Losses()

    def begin(self, sweep: Sweep, planned: int, seconds: float | None) -> None:
        """Pass the sweep on."""
        self.attempt("the start", lambda: self.inner.begin(sweep, planned, seconds))

    def on(self, event: TrialEvent) -> None:
        """Pass the event on."""
        self.attempt(_describe(event), lambda: self.inner.on(event))

    def attempt(self, what: str, tell: Callable[[], object]) -> None:
        """Call a method of the observer; ``what`` names what is lost if it raises."""
        try:
            tell()
        except (Exception, SystemExit) as error:  # no telling may end the work
            reason = describe_error(error)
            if not self.losses.any():
                _log.warning("%s failed (%s); the sweep goes on", self.title, reason)
            self.losses.add(what, reason)


def guard(observer: SweepObserver) -> GuardedObserver:
    """The observer with a guard around it, unless it has one."""
    return observer if isinstance(observer, GuardedObserver) else GuardedObserver(observer)


def _describe(event: TrialEvent) -> str:
    if isinstance(event, EpochEnded):
        return f"trial {event.epoch.trial}, epoch {event.epoch.epoch}"
    return f"trial {event.trial.number}, {event.kind.removeprefix('trial_').replace('_', ' ')}"


class CallbackObserver(SweepObserver):
    """Calls a function with every event."""

    title = "on_event"

    def __init__(self, on_event: Callable[[TrialEvent], None]) -> None:
        self._on_event = on_event

    def on(self, event: TrialEvent) -> None:
        """Call the function."""
        self._on_event(event)
