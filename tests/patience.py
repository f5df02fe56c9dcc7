"""How long tests wait for something before they fail.

The environment variable ``GAPSWEEP_TEST_PATIENCE`` scales every deadline: set it above 1 on a slow
or a busy machine. Where several workers share the tests, each keeps it busy for the others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_SET = float(os.environ.get("GAPSWEEP_TEST_PATIENCE", "1"))
FACTOR = max(_SET, float(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def patience(seconds: float) -> float:
    """A deadline of so many seconds on a quiet machine, in seconds on this one."""
    return seconds * FACTOR


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Wait until a condition holds; asking takes a twentieth of a processor at most.

    Raises:
        AssertionError: it did not hold within ``patience(seconds)``.
    """
    allowed = patience(seconds)
    deadline = time.monotonic() + allowed
    while not _ask(condition):
        assert time.monotonic() < deadline, f"not within {allowed:g} s"


def _ask(condition: Callable[[], object]) -> bool:
    """Whether it holds now; if not, after a pause that is long where the question was costly."""
    before = time.thread_time()
    if condition():
        return True
    time.sleep(max(0.02, 19 * (time.thread_time() - before)))
    return False
