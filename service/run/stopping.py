"""Whether a running sweep should end before its trials are used up, and why."""

from __future__ import annotations

import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import FrameType
from typing import Any

from service.study.events import Observer
from service.study.records import Trial, TrialState
from service.sweep.gpu_budget import GpuBudget

HOPELESS = 5


class Stop(Enum):
    """Why a sweep ends early."""

    INTERRUPTED = "interrupted"
    TIME = "its time budget is used up"
    GPU_HOURS = "its GPU hours are used up"
    FAILING = f"its first {HOPELESS} trials failed"


@dataclass
class Orders:
    """What others order a running sweep, on any thread: to stop, how many trials may run at once.

    ``slots`` bounds the trials that start; those that run go on. None leaves it to the cluster.
    ``stale`` says why it stops: the sweep has another driver, or none any more.
    """

    stop: bool = False
    stale: bool = False
    slots: int | None = None


class Control(Observer):
    """An observer that decides when to stop: by the clock, signals, orders and failed trials."""

    def __init__(
        self,
        seconds: float | None,
        confirmations: int = 0,
        slots: int = 1,
        gpus: GpuBudget | None = None,
        orders: Orders | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``confirmations`` trials, ``slots`` at once, are to come after the search."""
        self._orders = orders or Orders()
        self._gpus, self._confirmations, self._slots = gpus, confirmations, slots
        self._deadline = None if seconds is None else clock() + seconds
        self._clock = clock
        self._interrupted = False
        self._failed = 0
        self._fine = False
        self._complete: list[float] = []
        self._before: dict[signal.Signals, Any] = {}

    @property
    def reason(self) -> Stop | None:
        """Why to end now; None to go on."""
        if self._interrupted or self._orders.stop:
            return Stop.INTERRUPTED
        if self._failed >= HOPELESS and not self._fine:
            return Stop.FAILING
        if self._deadline is not None and self._clock() >= self._deadline:
            return Stop.TIME
        if self._gpus is not None and self._gpus.left <= 0:
            return Stop.GPU_HOURS
        return None

    @property
    def slots(self) -> int:
        """How many trials may run at once now."""
        return self._slots if self._orders.slots is None else min(self._slots, self._orders.slots)

    def search_is_over(self) -> bool:
        """Whether what is left of a budget is for confirmations, by what trials took so far."""
        if self._deadline is not None and self._clock() >= self._deadline - self._reserved():
            return True
        return self._gpus is not None and self._gpus.left <= self._reserved_gpus(self._gpus)

    def ended(self, trial: Trial) -> None:
        """Count failures until any trial has gone well, and learn what a whole one takes."""
        if trial.state is TrialState.COMPLETE:
            self._complete.append(trial.seconds)
        self._failed += trial.state is TrialState.FAILED
        self._fine = self._fine or trial.state is not TrialState.FAILED

    def _reserved(self) -> float:
        """Seconds for the confirmations, none of which is pruned, and for trials that still run."""
        if not self._confirmations or not self._complete:
            return 0.0
        rounds = math.ceil(self._confirmations / max(1, self.slots))
        return (rounds + 1) * statistics.fmean(self._complete)

    def _reserved_gpus(self, gpus: GpuBudget) -> float:
        """GPU seconds for the same."""
        if not self._confirmations or not self._complete:
            return 0.0
        trials = self._confirmations + self.slots
        return gpus.needed(trials, statistics.fmean(self._complete))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Stop the sweep on SIGINT or SIGTERM; a second signal ends the process at once.

        Python handles signals on the main thread only: on another one this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        for number in self._before:
            signal.signal(number, self._interrupt)
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self._interrupted = True
        signal.signal(number, self._before[signal.Signals(number)])
