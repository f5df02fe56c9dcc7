"""When to stop: after `patience` epochs without an improvement. It decides, and stops nothing."""

from __future__ import annotations

import math
from enum import Enum

from trainables.hyper import EarlyStoppingSpec


class Verdict(Enum):
    """What an epoch's value means."""

    IMPROVED = "improved"
    WAIT = "wait"
    STOP = "stop"


class EarlyStopping:
    """Watches one metric; :attr:`best_epoch` is the epoch whose weights are to be kept.

    A value improves when it is better than the best by more than ``min_delta``; NaN never does.
    Prechelt 1998, Early Stopping – But When?, the UP criterion with strips of one epoch.
    """

    def __init__(self, spec: EarlyStoppingSpec) -> None:
        self._spec = spec
        self.best_epoch: int | None = None
        self._best = math.inf
        self._waited = 0

    def update(self, epoch: int, value: float) -> Verdict:
        """Take an epoch's value. With patience 0 the first epoch that does not improve stops."""
        cost = -value if self._spec.mode == "max" else value
        if cost < self._best - self._spec.min_delta or (
            self.best_epoch is None and math.isfinite(cost)
        ):
            self._best, self.best_epoch, self._waited = cost, epoch, 0
            return Verdict.IMPROVED
        self._waited += 1
        return Verdict.STOP if self._waited >= max(1, self._spec.patience) else Verdict.WAIT

    def state_dict(self) -> dict[str, float | int | None]:
        """Everything that :meth:`load_state_dict` needs to go on."""
        return {"best": self._best, "best_epoch": self.best_epoch, "waited": self._waited}

    def load_state_dict(self, state: dict[str, float | int | None]) -> None:
        """Go on from a state."""
        best, waited, epoch = state["best"], state["waited"], state["best_epoch"]
        self._best = math.inf if best is None else float(best)
        self._waited = int(waited or 0)
        self.best_epoch = None if epoch is None else int(epoch)
