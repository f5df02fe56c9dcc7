"""Which weights stay on disk: the baseline's and the best trial's so far."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable

from service.home import SweepFolder
from service.records import Epoch, Role, Trial, TrialState

Rank = Callable[[Trial], tuple[float, float, int]]


class FinalistWeights:
    """An observer that deletes what no finalist needs, as soon as a trial has ended."""

    def __init__(self, folder: SweepFolder, rank: Rank, known: Iterable[Trial]) -> None:
        self._folder = folder
        self._rank = rank
        self._best: Trial | None = None
        for trial in known:
            if trial.state is not TrialState.RUNNING:
                self.ended(trial)

    def started(self, trial: Trial) -> None:
        """Its checkpoints are its own affair until it ends."""

    def epoch(self, epoch: Epoch) -> None:
        """A running trial needs its checkpoint."""

    def ended(self, trial: Trial) -> None:
        """Keep its weights if it is a finalist, and then not those of the one it beats."""
        self._folder.checkpoint(trial.number).unlink(missing_ok=True)
        if trial.state is TrialState.COMPLETE and trial.role is Role.BASELINE:
            return
        if trial.state is not TrialState.COMPLETE:
            self._drop(trial)
        elif self._best is None or self._rank(trial) < self._rank(self._best):
            if self._best is not None:
                self._drop(self._best)
            self._best = trial
        else:
            self._drop(trial)

    def _drop(self, trial: Trial) -> None:
        shutil.rmtree(self._folder.trial(trial.number), ignore_errors=True)
