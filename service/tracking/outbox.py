"""Writes a sweep's events to MLflow or to a server's store, in batches and off the hot path.

A sink that is away gets everything later. An update that a sink refuses is taken apart until the
part that it refuses is found; that part is skipped and counted, and the rest is written. The study
and the history have everything too: a lost outbox loses nothing for good.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from service.study.events import Observer
from service.study.records import Epoch, Trial
from service.sweep.lost_items import Losses, describe_error

PERSISTENT = 5
"""Failures in a row after which a sink that answers otherwise is taken to refuse an update."""


class SinkEmptiedError(ConnectionError):
    """Somebody deleted what was written: it is all to be written again."""


def _remember_nothing() -> Mapping[int, Sequence[Epoch]]:
    return {}


@dataclass(frozen=True, kw_only=True)
class TrialUpdate:
    """What is new of one trial: its current record, whether that changed, new epochs in order."""

    trial: Trial
    changed: bool
    epochs: tuple[Epoch, ...]

    def split(self) -> tuple[TrialUpdate, ...]:
        """Smaller updates with the same content; this one alone if it cannot be split.

        The record is last: a sink that has a trial's end has its epochs, but those it refused.
        """
        if len(self.epochs) + self.changed < 2:
            return (self,)
        if self.changed:
            return replace(self, changed=False), replace(self, epochs=())
        half = len(self.epochs) // 2
        return replace(self, epochs=self.epochs[:half]), replace(self, epochs=self.epochs[half:])

    def __str__(self) -> str:
        if self.changed or not self.epochs:
            return f"trial {self.trial.number}"
        return f"trial {self.trial.number}, epoch {self.epochs[0].epoch}"


class Sink(Protocol):
    """Where updates are written."""

    @property
    def batch(self) -> int:
        """The largest number of trials in one call."""

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Write updates, or raise. An update may come twice and must then change nothing.

        It is called every period, also without updates.
        """

    def is_away(self, error: Exception) -> bool:
        """Whether an error of :meth:`write` says that the sink cannot be used for now.

        Any other error refuses the updates: to send the same again cannot help.
        """


class Outbox(Observer):
    """An observer that writes to one sink on its own thread.

    ``error`` is the last reason why the sink was away; ``losses`` are the updates that it refused.
    """

    def __init__(
        self,
        sink: Sink,
        name: str,
        *,
        period: float = 1.0,
        patience: float = 20.0,
        rest: float = 0.0,
        reread: Callable[[], Mapping[int, Sequence[Epoch]]] = _remember_nothing,
    ) -> None:
        """``patience`` is for how many seconds :meth:`close` retries a sink that fails.

        The sink is not used for the first ``rest`` seconds, unless an epoch or a trial ends.

        ``reread`` returns all epochs so far, for a sink that raises SinkEmptiedError.
        """
        self._sink, self._reread = sink, reread
        self._period, self._patience = period, patience
        self._queue: queue.SimpleQueue[Trial | Epoch] = queue.SimpleQueue()
        self._trials: dict[int, Trial] = {}
        self._changed: set[int] = set()
        self._epochs: dict[int, list[Epoch]] = {}
        self._closing, self._due = threading.Event(), threading.Event()
        self._tried = threading.Event()
        self._rest = rest
        self._last: Callable[[], None] | None = None
        self._failures = 0
        self.error: str | None = None
        self.losses = Losses()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def started(self, trial: Trial) -> None:
        """Queue the trial."""
        self._queue.put(trial)

    def epoch(self, epoch: Epoch) -> None:
        """Queue an epoch."""
        self._queue.put(epoch)
        self._due.set()

    def paused(self, trial: Trial) -> None:
        """Queue the trial's pause."""
        self._queue.put(trial)

    def ended(self, trial: Trial) -> None:
        """Queue the trial's end."""
        self._queue.put(trial)
        self._due.set()

    def repeat(self, trials: Iterable[Trial]) -> None:
        """Queue trials of earlier sessions with their epochs: the sink may lack some of them."""
        for trial in trials:
            self._queue.put(trial)
            for epoch in trial.epochs:
                self._queue.put(epoch)

    def close(self, last: Callable[[], None], patience: float | None = None) -> bool:
        """Write what is left and then call ``last``; whether both succeeded within ``patience``.

        The default of ``patience`` is the outbox's own, and as much for the first use of the sink,
        which may have to be made.
        """
        self._last = last
        self._patience = self._patience if patience is None else patience
        self._closing.set()
        self._due.set()
        if patience is None:
            self._tried.wait(self._patience)
        self._thread.join(self._patience + self._period)
        if self._last is not None and self.error is None:
            self.error = f"no answer for {self._patience:g} s"
        return self._last is None

    def _work(self) -> None:
        deadline = float("inf")
        self._due.wait(self._rest)
        while True:
            closing = self._closing.wait(self._period)
            deadline = min(deadline, time.monotonic() + self._patience) if closing else deadline
            self._drain()
            flushed = self._attempt(self._flush)
            self._tried.set()
            written = flushed and (not closing or self._attempt(self._end))
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
            elif item.trial in self._trials:
                self._epochs.setdefault(item.trial, []).append(item)

    def _flush(self) -> None:
        numbers = sorted(self._changed | self._epochs.keys())
        size = self._sink.batch
        for some in [numbers[i : i + size] for i in range(0, len(numbers), size)] or [[]]:
            self._send([self._build_update(n) for n in some])

    def _build_update(self, number: int) -> TrialUpdate:
        return TrialUpdate(
            trial=self._trials[number],
            changed=number in self._changed,
            epochs=tuple(self._epochs.get(number, ())),
        )

    def _send(self, updates: Sequence[TrialUpdate]) -> None:
        """Write updates, without the parts that the sink refuses; raise if it is away."""
        try:
            self._sink.write(updates)
        except Exception as error:
            if isinstance(error, SinkEmptiedError) or not self._is_refused(error):
                raise
            self._send_apart(updates, error)
        else:
            self._failures = 0
            for update in updates:
                self._forget(update)

    def _send_apart(self, updates: Sequence[TrialUpdate], error: Exception) -> None:
        parts = updates if len(updates) > 1 else [p for u in updates for p in u.split()]
        if len(parts) > 1:
            half = len(parts) // 2
            self._send(parts[:half])
            self._send(parts[half:])
            return
        for update in parts:
            self.losses.add(str(update), describe_error(error))
            self._forget(update)

    def _is_refused(self, error: Exception) -> bool:
        """Whether the sink refuses what was written, be it with an error that says it is away."""
        return not self._sink.is_away(error) or (
            self._failures >= PERSISTENT and self._sink_answers()
        )

    def _sink_answers(self) -> bool:
        try:
            self._sink.write([])
        except Exception:  # any error: it is away
            return False
        return True

    def _forget(self, update: TrialUpdate) -> None:
        """Drop what was written or skipped."""
        number = update.trial.number
        if update.changed:
            self._changed.discard(number)
        left = self._epochs.get(number, [])[len(update.epochs) :]
        if left:
            self._epochs[number] = left
        else:
            self._epochs.pop(number, None)

    def _repeat_all(self) -> None:
        self._changed |= self._trials.keys()
        for number, epochs in self._reread().items():
            if number in self._trials:
                self._epochs[number] = list(epochs)

    def _end(self) -> None:
        if self._last is not None:
            self._last()
            self._last = None

    def _attempt(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except Exception as error:  # the sweep continues, whatever a sink raises
            self.error = describe_error(error)
            self._failures += 1
            if isinstance(error, SinkEmptiedError):
                self._repeat_all()
            return False
        return True
