"""Failures over single sweeps, which must not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from service.base.errors import ClusterUnavailableError, DatabaseUnavailableError
from service.base.redaction import redact

_log = logging.getLogger(__name__)


class Troubles:
    """The sweeps that a round could not handle, since when and why. Each reason is logged once."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._found: dict[str, tuple[str, float]] = {}

    @contextmanager
    def confine(self, sweep_id: str) -> Iterator[None]:
        """Note a failure over a sweep and go on.

        Raises:
            ClusterUnavailableError, DatabaseUnavailableError: these are not about one sweep.
        """
        try:
            yield
        except (DatabaseUnavailableError, ClusterUnavailableError):
            raise
        except Exception as error:
            self._note(sweep_id, error)
        else:
            self._found.pop(sweep_id, None)

    def keep(self, sweep_ids: Collection[str]) -> None:
        """Forget all other sweeps."""
        self._found = {s: found for s, found in self._found.items() if s in sweep_ids}

    def older_than(self, seconds: float) -> Mapping[str, str]:
        """The reasons of the sweeps that have been in trouble for longer than that."""
        before = self._clock() - seconds
        return {s: why for s, (why, since) in self._found.items() if since < before}

    def __len__(self) -> int:
        return len(self._found)

    def _note(self, sweep_id: str, error: Exception) -> None:
        why = redact(f"{type(error).__name__}: {error}"[:300])
        old, since = self._found.get(sweep_id, ("", self._clock()))
        if why != old:
            _log.exception("%s cannot be handled; the others can", sweep_id)
        self._found[sweep_id] = (why, since)
