"""What could not be shown, logged or told of a sweep, counted by reason.

Nothing that tells people of a sweep may end it. Whatever fails is skipped, counted here, and
reported when the sweep ends and in its summary.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from search_spaces.models import Frozen
from service.base.redaction import redact

T = TypeVar("T")

_SHOWN = 3
_REASONS = 20
_LENGTH = 300


class Loss(Frozen):
    """What was not shown, where, why, and how many items that were."""

    place: str
    what: str
    reason: str
    count: int

    def __str__(self) -> str:
        return f"{self.place}: {self.what} ({self.reason})"


class Losses:
    """Losses of one place, by reason; any thread may add one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, None]] = {}

    def add(self, what: str, reason: str) -> None:
        """Count one loss; the same one once."""
        with self._lock:
            if reason not in self._found and len(self._found) >= _REASONS:
                reason = "other reasons"
            self._found.setdefault(reason, {})[what] = None

    def any(self) -> bool:
        """Whether there is any."""
        return bool(self._found)

    def list(self, place: str) -> tuple[Loss, ...]:
        """The losses so far, one for each reason."""
        with self._lock:
            return tuple(
                Loss(place=place, what=_name(list(names)), reason=reason, count=len(names))
                for reason, names in self._found.items()
            )


def attempt(losses: Losses, what: str, write: Callable[[], T]) -> T | None:
    """Call ``write``; if it raises, count ``what`` as lost and return None."""
    try:
        return write()
    except Exception as error:  # whatever cannot be shown, the sweep has its result
        losses.add(what, describe_error(error))
        return None


def describe_error(error: BaseException) -> str:
    """An error in one short line, without secrets."""
    lines = f"{type(error).__name__}: {error}".splitlines()
    return redact(lines[0])[:_LENGTH]


def _name(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return "; ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
