"""When Python looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_RARELY = (50_000, 20, 50)
_usual: list[tuple[int, int, int]] = []
"""What was set before :func:`collect_rarely`, until it is undone."""


@contextmanager
def collect_later() -> Iterator[None]:
    """Import large libraries in the block: what they leave is not looked through for garbage.

    Each import makes thousands of objects that stay. Looking through them again and again takes a
    fifth of the time that the imports take.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def collect_rarely() -> None:
    """Look for garbage after 50,000 new objects, not after Python 3.11's 700.

    For a program that imports much: looking through it takes a quarter of the time of the imports
    of MLflow's server.
    """
    if not _usual:
        _usual.append(gc.get_threshold())
    gc.set_threshold(*_RARELY)


def collect_as_usual() -> None:
    """Undo :func:`collect_rarely`, if it was called: a user's cycles may hold a GPU's memory."""
    if _usual:
        gc.set_threshold(*_usual[0])
        _usual.clear()
