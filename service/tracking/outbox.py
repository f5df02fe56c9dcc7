"""Tells others what happens in a sweep, in batches, off the hot path, and until they have heard.

A sink may be away for a while: what it was not told is kept, and the sweep goes on. Everything is
in the study and the history too, so that an outbox that is lost loses nothing for good.
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
class News:
    """What is new of one trial: its record as it is now, whether it changed, epochs in order."""

    trial: Trial
    changed: bool
    epochs: tuple[Epoch, ...]


class Sink(Protocol):
    """Who is told."""

    @property
    def batch(self) -> int:
        """How many trials a call speaks of at most."""

    def write(self, news: Sequence[News]) -> None:
        """Take news, or raise. The same news may come twice and must count once.

        It is called every period, with nothing new too.
        """


class Outbox(Observer):
    """Writes to one sink from a thread of its own; an observer of the session."""

    def __init__(
        self, sink: Sink, name: str, *, period: float = 1.0, patience: float = 20.0
    ) -> None:
        """``patience`` is how many seconds :meth:`close` lets the sink be away."""
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
        """Queue trials of an earlier session with their epochs: some may not have been told."""
        for trial in trials:
            self._queue.put(trial)
            for epoch in trial.epochs:
                self._queue.put(epoch)

    def close(self, last: Callable[[], None]) -> bool:
        """Tell what is left and then do ``last``; whether all went well within ``patience``."""
        self._last = last
        self._closing.set()
        self._thread.join(self._patience + self._period)
        return self._last is None

    def abandon(self) -> None:
        """Do not wait: the thread writes what is left while it can, and ends by itself."""
        self._closing.set()

    def _work(self) -> None:
        deadline = float("inf")
        while True:
            closing = self._closing.wait(self._period)
            deadline = min(deadline, time.monotonic() + self._patience) if closing else deadline
            self._drain()
            told = self._attempt(self._flush) and (not closing or self._attempt(self._end))
            if closing and (told or time.monotonic() > deadline):
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
            self._sink.write([self._news(n) for n in some])
            self._changed -= set(some)
            for number in some:
                self._epochs.pop(number, None)

    def _news(self, number: int) -> News:
        return News(
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
        except Exception as error:  # whatever a server or its client raises, the sweep goes on
            self.error = redact(f"{type(error).__name__}: {error}".splitlines()[0])
            return False
        return True
