"""Observers of a whole sweep: progress displays, a server's recorder, a caller's callback."""

from __future__ import annotations

from collections.abc import Callable

from service.study.events import Observer, TrialEvent
from service.sweep.sweep_record import Sweep


class SweepObserver(Observer):
    """An observer that also receives the sweep before the first event."""

    def begin(self, sweep: Sweep, planned: int, seconds: float | None) -> None:
        """Take the sweep, its planned number of trials, and the seconds left (None: no limit)."""


class CallbackObserver(SweepObserver):
    """Calls a function with every event."""

    def __init__(self, on_event: Callable[[TrialEvent], None]) -> None:
        self._on_event = on_event

    def on(self, event: TrialEvent) -> None:
        """Call the function."""
        self._on_event(event)
