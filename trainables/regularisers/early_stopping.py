"""Early stopping by patience; it returns a verdict for each epoch, and the loop acts on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trainables.config.stopping import LEAST_PATIENCE, Patience, Verdict


class EarlyStopping:
    """Monitors one metric; :attr:`best_epoch` is the epoch whose weights to keep.

    A value improves when it is better than the best by more than ``min_delta``; NaN never does.
    Prechelt 1998, Early Stopping – But When?, the UP criterion with strips of one epoch.
    """

    def __init__(self, spec: Patience) -> None:
        self._spec = spec
        self._patience = LEAST_PATIENCE if spec.patience is None else spec.patience
        self.best_epoch: int | None = None
        self._best = math.inf
        self._waited = 0
        self._gap = math.inf
        self._grown = 0

    def update(self, epoch: int, value: float, gap: float | None = None) -> Verdict:
        """Judge an epoch by its value, and by its gap if it was measured.

        With patience 0, the first epoch without an improvement stops the training.
        """
        cost = -value if self._spec.mode == "max" else value
        if self._improves(cost):
            self._best, self.best_epoch, self._waited, self._grown = cost, epoch, 0, 0
            self._gap = self._gap if gap is None else gap
            return Verdict.IMPROVED
        if epoch > self._spec.warmup:
            self._waited += 1
            self._follow(gap)
        too_long = self._waited >= max(1, self._patience)
        return Verdict.STOP if too_long or self._gap_says_stop() else Verdict.WAIT

    def state_dict(self) -> dict[str, Any]:
        """The state for :meth:`load_state_dict`."""
        return {
            "best": self._best,
            "best_epoch": self.best_epoch,
            "waited": self._waited,
            "gap": self._gap,
            "grown": self._grown,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        best, gap, epoch = state["best"], state["gap"], state["best_epoch"]
        self._best = math.inf if best is None else float(best)
        self._gap = math.inf if gap is None else float(gap)
        self._waited, self._grown = int(state["waited"] or 0), int(state["grown"] or 0)
        self.best_epoch = None if epoch is None else int(epoch)

    def _improves(self, cost: float) -> bool:
        if self.best_epoch is None:
            return math.isfinite(cost)
        relative = self._spec.min_delta_mode == "relative"
        delta = self._spec.min_delta * (abs(self._best) if relative else 1.0)
        return cost < self._best - delta

    def _follow(self, gap: float | None) -> None:
        if gap is not None:
            self._grown = self._grown + 1 if gap > self._gap else 0
            self._gap = gap

    def _gap_says_stop(self) -> bool:
        patience = self._spec.gap_patience
        return patience is not None and self._grown >= patience
