"""The epochs that pruning and early stopping saved."""

from __future__ import annotations

from dataclasses import dataclass

from service.study.records import OUT_OF_BUDGET, Trial, TrialState
from service.sweep.sweep_record import Sweep


@dataclass(frozen=True, kw_only=True)
class Savings:
    """Epochs that ran, and those that pruning and early stopping saved.

    A pruned trial is assumed to run ``max_epochs`` otherwise; early stopping might have ended it
    sooner, so ``pruning`` is an upper bound.
    """

    run: int
    pruning: int
    early_stopping: int

    @property
    def pruning_share(self) -> float | None:
        """Fraction of the epochs that would have run without pruning; None if there are none."""
        total = self.run + self.pruning
        return self.pruning / total if total else None

    @property
    def early_stopping_share(self) -> float | None:
        """Fraction of the epochs that would have run without early stopping."""
        total = self.run + self.early_stopping
        return self.early_stopping / total if total else None


def count_savings(sweep: Sweep) -> Savings:
    """Count the epochs of the search: replicates are never pruned."""

    def count_saved(state: TrialState) -> int:
        trials = (t for t in sweep.searched if t.state is state and t.reason != OUT_OF_BUDGET)
        return sum(max(_get_max_epochs(sweep, t) - _count_epochs(t), 0) for t in trials)

    return Savings(
        run=sum(_count_epochs(t) for t in sweep.searched),
        pruning=count_saved(TrialState.PRUNED),
        early_stopping=count_saved(TrialState.COMPLETE),
    )


def _count_epochs(trial: Trial) -> int:
    return max((e.epoch for e in trial.epochs), default=trial.stopped_epoch or 0)


def _get_max_epochs(sweep: Sweep, trial: Trial) -> int:
    """The epoch budget of a trial of the search: ``max_epochs`` may be a searched parameter."""
    searched = trial.params.get("max_epochs")
    most = searched if isinstance(searched, int) else sweep.max_epochs
    return most * (sweep.folds or 1)
