"""The remaining GPU hours of a sweep, measured by how long its trials held GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from service.study.events import Observer
from service.study.records import Trial
from service.study.study import SweepStudy


class GpuBudget(Observer):
    """An observer with a clock: a trial holds its GPUs from its start to its end.

    ``gpus`` is the number of GPUs per trial. Usage in earlier sessions is read from their trials.
    """

    def __init__(
        self,
        hours: float,
        gpus: float,
        study: SweepStudy,
        known: Iterable[Trial],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gpus, self._study, self._clock = gpus, study, clock
        self._used = gpus * sum(trial.seconds for trial in known)
        self._granted = 3600 * hours + study.attributes.gpu_seconds_before_extension
        self._since: dict[int, float] = {}

    @property
    def left(self) -> float:
        """The remaining GPU seconds."""
        now = self._clock()
        running = self._gpus * sum(now - since for since in self._since.values())
        return self._granted - self._used - running

    def extend(self) -> None:
        """Grant the whole budget again, counted from now on."""
        attributes = self._study.attributes
        self._granted += self._used - attributes.gpu_seconds_before_extension
        self._study.store(replace(attributes, gpu_seconds_before_extension=self._used))

    def started(self, trial: Trial) -> None:
        """Start counting the trial's GPUs, again if its process died and it goes on in another."""
        self.ended(trial)
        self._since[trial.number] = self._clock()

    def paused(self, trial: Trial) -> None:
        """Stop counting the trial's GPUs until it starts again."""
        self.ended(trial)

    def ended(self, trial: Trial) -> None:
        """Stop counting the trial's GPUs."""
        since = self._since.pop(trial.number, None)
        if since is not None:
            self._used += self._gpus * (self._clock() - since)
