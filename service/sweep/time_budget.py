"""How long a sweep has run over all its sessions, kept in its study."""

from __future__ import annotations

import time
from collections.abc import Callable

import optuna

from service.study.records import Epoch, Trial

_SPENT, _GRANTED = "seconds", "seconds_before_extension"


class Stopwatch:
    """An observer that saves the time whenever a trial ends, so that a crash loses little."""

    def __init__(self, study: optuna.Study, clock: Callable[[], float] = time.monotonic) -> None:
        self._study = study
        self._clock = clock
        self._before = spent(study)
        self._since = clock()

    @property
    def total(self) -> float:
        """Seconds over all sessions."""
        return self._before + self._clock() - self._since

    def left(self, minutes: float | None) -> float | None:
        """Seconds left of a budget since the last extension; None without a budget."""
        if minutes is None:
            return None
        return 60 * minutes - (self.total - float(self._study.user_attrs.get(_GRANTED, 0.0)))

    def extend(self) -> None:
        """Count the budget from now on."""
        self._study.set_user_attr(_GRANTED, self.total)

    def save(self) -> None:
        """Write the time into the study."""
        self._study.set_user_attr(_SPENT, self.total)

    def started(self, trial: Trial) -> None:
        """Nothing to save yet."""

    def epoch(self, epoch: Epoch) -> None:
        """Not worth a write."""

    def ended(self, trial: Trial) -> None:
        """Save."""
        self.save()


def spent(study: optuna.Study) -> float:
    """Seconds over all sessions that were saved."""
    return float(study.user_attrs.get(_SPENT, 0.0))
