"""How often Python looks for garbage in cycles, which all else is freed without."""

from __future__ import annotations

import gc

_USUAL = gc.get_threshold()
_RARELY = (50_000, 20, 50)


def collect_rarely() -> None:
    """Look for garbage after 50,000 new objects, not after Python 3.11's 700.

    What a program imports stays: looking through it takes a quarter of the time of the imports of
    MLflow's server.
    """
    gc.set_threshold(*_RARELY)


def collect_as_usual() -> None:
    """Look for garbage as often as Python by itself: a user's cycles may hold a GPU's memory."""
    gc.set_threshold(*_USUAL)
