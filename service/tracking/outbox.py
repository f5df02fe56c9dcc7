"""Writes a sweep's events to MLflow or to a server's store, in batches and off the hot path.

A sink may fail for a while: what it did not accept is kept and written again, and the sweep
continues. The study and the history have everything too: a lost outbox loses nothing for good.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.base.redaction import redact
from service.study.events import Observer
from service.study.records import Epoch, Trial


@dataclass(frozen=True, kw_only=True)
class TrialUpdate:
    """What is new of one trial: its current record, whether that changed, new epochs in order."""

    trial: Trial
    changed: bool
    epochs: tuple[Epoch, ...]


class Sink(Protocol):
    """Where updates are written."""

    @property
    def batch(self) -> int:
        """The largest number of trials in one call."""

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Write updates, or raise. An update may come twice and must then change nothing.

        It is called every period, also without updates.
        """


class Outbox(Observer):
    """An observer that writes to one sink on its own thread."""

    def __init__(
        self, sink: Sink, name: str, *, period: float = 1.0, patience: float = 20.0
    ) -> None:
        """``patience`` is for how many seconds :meth:`close` retries a sink that fails."""
        self._sink = sink
        self._period, self._patience = period, patience
        self._queue: queue.SimpleQueue[Trial | Epoch] = queue.SimpleQueue()
        self._trials: dict[int, Trial] = {}
        self._changed: set[int] = set()
        self._epochs: dict[int, list[Epoch]] = {}
        self._closing = threading.Event()
        self._last: Callable[[], None] | None = None
        self.error: str | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def started(self, trial: Trial) -> None:
        """Queue the trial."""
        self._queue.put(trial)

    def epoch(self, epoch: Epoch) -> None:
        """Queue an epoch."""
        self._queue.put(epoch)

    def ended(self, trial: Trial) -> None:
        """Queue the trial's end."""
        self._queue.put(trial)

    def repeat(self, trials: Iterable[Trial]) -> None:
        """Queue trials of earlier sessions with their epochs: the sink may lack some of them."""
        for trial in trials:
            self._queue.put(trial)
            for epoch in trial.epochs:
                self._queue.put(epoch)

    def close(self, last: Callable[[], None]) -> bool:
        """Write what is left and then call ``last``; whether both succeeded within ``patience``."""
        self._last = last
        self._closing.set()
        self._thread.join(self._patience + self._period)
        return self._last is None

    def abandon(self) -> None:
        """Return at once: the thread writes what is left while it can, and then ends."""
        self._closing.set()

    def _work(self) -> None:
        deadline = float("inf")
        while True:
            closing = self._closing.wait(self._period)
            deadline = min(deadline, time.monotonic() + self._patience) if closing else deadline
            self._drain()
            written = self._attempt(self._flush) and (not closing or self._attempt(self._end))
            if closing and (written or time.monotonic() > deadline):
                return
            if closing:
                time.sleep(self._period)

    def _drain(self) -> None:
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, Trial):
                self._trials[item.number] = item
                self._changed.add(item.number)
            else:
                self._epochs.setdefault(item.trial, []).append(item)

    def _flush(self) -> None:
        numbers = sorted(self._changed | self._epochs.keys())
        size = self._sink.batch
        for some in [numbers[i : i + size] for i in range(0, len(numbers), size)] or [[]]:
            self._sink.write([self._build_update(n) for n in some])
            self._changed -= set(some)
            for number in some:
                self._epochs.pop(number, None)

    def _build_update(self, number: int) -> TrialUpdate:
        return TrialUpdate(
            trial=self._trials[number],
            changed=number in self._changed,
            epochs=tuple(self._epochs.get(number, ())),
        )

    def _end(self) -> None:
        if self._last is not None:
            self._last()
            self._last = None

    def _attempt(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except Exception as error:  # the sweep continues, whatever a sink raises
            self.error = redact(f"{type(error).__name__}: {error}".splitlines()[0])
            return False
        return True
