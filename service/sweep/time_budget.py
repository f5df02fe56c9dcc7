"""Measures how long a sweep has run over all sessions; the time is stored in its study."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from service.study.events import Observer
from service.study.records import Trial
from service.study.study import SweepStudy


class Stopwatch(Observer):
    """An observer that saves the time when a trial ends or pauses: a crash loses little."""

    def __init__(self, study: SweepStudy, clock: Callable[[], float] = time.monotonic) -> None:
        self._study = study
        self._clock = clock
        self._before = study.attributes.seconds
        self._since = clock()

    @property
    def total(self) -> float:
        """Seconds over all sessions."""
        return self._before + self._clock() - self._since

    def left(self, minutes: float | None) -> float | None:
        """Return the remaining seconds of a budget since the last extension; None without one."""
        if minutes is None:
            return None
        return 60 * minutes - (self.total - self._study.attributes.seconds_before_extension)

    def extend(self) -> None:
        """Grant the whole budget again, counted from now on."""
        changed = replace(self._study.attributes, seconds_before_extension=self.total)
        self._study.store(changed)

    def save(self) -> None:
        """Write the time into the study."""
        self._study.store(replace(self._study.attributes, seconds=self.total))

    def paused(self, trial: Trial) -> None:
        """Write the time into the study."""
        self.save()

    def ended(self, trial: Trial) -> None:
        """Write the time into the study."""
        self.save()
