"""How a command that runs other programs is told to stop, and still ends them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_in_order() -> Iterator[None]:
    """Make SIGINT, SIGTERM and SIGHUP end the block by SystemExit, so that all of it is closed.

    uvicorn handles the first two while it serves, and then raises the signal once more: without a
    handler it would end the process before anything is closed. A process that ignores SIGHUP, as
    under ``nohup``, goes on doing so. Once the block is being closed, signals are ignored.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, _hang_up if number == signal.SIGHUP else _stop)
    try:
        yield
    finally:
        for number in _SIGNALS:
            signal.signal(number, before[number])


def ignore_signals() -> None:
    """Ignore further signals to stop: everything is being closed already."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _stop(*_: object) -> None:
    ignore_signals()
    raise SystemExit(0)


def _hang_up(*_: object) -> None:
    """The terminal was closed: end as by SIGTERM, which uvicorn knows."""
    signal.raise_signal(signal.SIGTERM)
