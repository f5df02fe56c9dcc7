"""Decides whether a running sweep should stop early, and why."""

from __future__ import annotations

import signal
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

FAILURE_LIMIT = 5


class Stop(Enum):
    """Why a sweep stops early."""

    INTERRUPTED = "interrupted"
    TIME = "its time budget is used up"
    GPU_HOURS = "its GPU hours are used up"
    FAILING = f"its first {FAILURE_LIMIT} trials failed"


@dataclass
class Orders:
    """Requests to a running sweep from any thread: stop, or limit the concurrent trials.

    ``slots`` limits which trials may start; running ones continue. None means no limit beyond the
    cluster's. ``stale`` means that this driver no longer owns the sweep.
    """

    stop: bool = False
    stale: bool = False
    slots: int | None = None


@dataclass(frozen=True)
class Reserve:
    """What a search leaves of the budgets for what follows it."""

    seconds: float = 0.0
    gpu_seconds: float = 0.0


class Interrupts:
    """Whether SIGINT or SIGTERM was received since :meth:`handle`.

    SIGHUP is ignored meanwhile: a sweep goes on when its terminal is closed. Processes that are
    started meanwhile, such as Ray's, ignore it too.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: dict[signal.Signals, Any] = {}

    @contextmanager
    def handle(self) -> Iterator[None]:
        """Note the first signal instead of ending; a second one ends the process at once.

        Does nothing outside of the main thread, which alone can handle signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in self._before:
            signal.signal(number, self._receive)
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.signal(signal.SIGHUP, hangup)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received = True
        signal.signal(number, self._before[signal.Signals(number)])


class Control(Observer):
    """Observes the clock, signals, orders and trial states, and decides when to stop."""

    def __init__(
        self,
        seconds: float | None,
        reserve: Reserve | None = None,
        slots: int = 1,
        gpus: GpuBudget | None = None,
        orders: Orders | None = None,
        interrupts: Interrupts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``slots`` trials run at once; the search leaves the ``reserve``."""
        self._orders, self._interrupts = orders or Orders(), interrupts or Interrupts()
        self._gpus, self._reserve, self._slots = gpus, reserve or Reserve(), slots
        self._deadline = None if seconds is None else clock() + seconds
        self._clock = clock
        self._failed = 0
        self._any_succeeded = False

    @property
    def reason(self) -> Stop | None:
        """Why the sweep should stop now; None if it should continue."""
        if self._interrupts.received or self._orders.stop:
            return Stop.INTERRUPTED
        if self._failed >= FAILURE_LIMIT and not self._any_succeeded:
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

    def is_search_over(self) -> bool:
        """Whether only the part of the budgets is left that is reserved for the confirmation."""
        if self._deadline is not None and self._clock() >= self._deadline - self._reserve.seconds:
            return True
        return self._gpus is not None and self._gpus.left <= self._reserve.gpu_seconds

    def ended(self, trial: Trial) -> None:
        """Count failures until a trial succeeds."""
        self._failed += trial.state is TrialState.FAILED
        self._any_succeeded = self._any_succeeded or trial.state is not TrialState.FAILED

    def paused(self, trial: Trial) -> None:
        """Count a paused trial as one that did not fail."""
        self._any_succeeded = True
