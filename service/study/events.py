"""What happens in a running sweep, as typed values, from the study session to its observers.

A server stores these events and streams them, and a client that watches a sweep gets the same
values again. Imports no Optuna and no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.study.records import Epoch, Trial


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A trial starts, or continues after an interruption or a pause."""

    trial: Trial
    kind: Literal["trial_started"] = "trial_started"


@dataclass(frozen=True, kw_only=True)
class EpochEnded:
    """A running trial has finished an epoch."""

    epoch: Epoch
    kind: Literal["epoch_ended"] = "epoch_ended"


@dataclass(frozen=True, kw_only=True)
class TrialPaused:
    """A running trial has made room for others; it may start again from its last epoch."""

    trial: Trial
    kind: Literal["trial_paused"] = "trial_paused"


@dataclass(frozen=True, kw_only=True)
class TrialEnded:
    """A trial has ended: its state is complete, pruned or failed."""

    trial: Trial
    kind: Literal["trial_ended"] = "trial_ended"


@dataclass(frozen=True, kw_only=True)
class BestImproved:
    """A complete trial is the best so far."""

    trial: Trial
    kind: Literal["best_improved"] = "best_improved"


TrialEvent = TrialStarted | EpochEnded | TrialPaused | TrialEnded | BestImproved


class Observer:
    """Receives a sweep's events in order; a subclass overrides what it needs.

    The methods are called on the driver's thread and must neither block nor raise.
    """

    def on(self, event: TrialEvent) -> None:
        """Handle an event: by one of the methods below, unless a subclass handles it here."""
        match event:
            case TrialStarted():
                self.started(event.trial)
            case EpochEnded():
                self.epoch(event.epoch)
            case TrialPaused():
                self.paused(event.trial)
            case TrialEnded():
                self.ended(event.trial)
            case BestImproved():
                self.improved(event.trial)

    def started(self, trial: Trial) -> None:
        """Handle :class:`TrialStarted`."""

    def epoch(self, epoch: Epoch) -> None:
        """Handle :class:`EpochEnded`."""

    def paused(self, trial: Trial) -> None:
        """Handle :class:`TrialPaused`."""

    def ended(self, trial: Trial) -> None:
        """Handle :class:`TrialEnded`."""

    def improved(self, trial: Trial) -> None:
        """Handle :class:`BestImproved`."""
