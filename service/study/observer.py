"""What a running sweep reports, and to whom."""

from __future__ import annotations

from typing import Protocol

from service.study.records import Epoch, Trial


class Observer(Protocol):
    """Receives what happens, in order, on the driver's thread; must neither block nor raise.

    A class that inherits from it defines only the methods that it needs.
    """

    def started(self, trial: Trial) -> None:
        """A trial starts, or goes on after an interruption."""
        return

    def epoch(self, epoch: Epoch) -> None:
        """A running trial finished an epoch."""
        return

    def ended(self, trial: Trial) -> None:
        """A trial has ended: complete, pruned or failed."""
        return
