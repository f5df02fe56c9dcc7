"""Deletes weights that are not needed while a sweep runs."""

from __future__ import annotations

from collections.abc import Iterable

from service.study.events import Observer
from service.study.ranking import Ranking
from service.study.records import Role, Trial, TrialState
from service.sweep.home import SweepFolder


class FinalistWeights(Observer):
    """An observer that deletes unneeded weights as soon as a trial has ended.

    The weights of the baseline and of the best ``keep`` trials of the search are kept, and those of
    confirmations until they are tested.
    """

    def __init__(
        self, folder: SweepFolder, ranking: Ranking, known: Iterable[Trial], keep: int = 1
    ) -> None:
        self._folder = folder
        self._ranking = ranking
        self._keep = keep
        self._best: list[Trial] = []
        for trial in known:
            if trial.state is not TrialState.RUNNING:
                self.ended(trial)

    def ended(self, trial: Trial) -> None:
        """Keep the weights of a finalist, and delete those of the trial that it displaces."""
        self._folder.checkpoint(trial.number).unlink(missing_ok=True)
        if trial.state is not TrialState.COMPLETE:
            self._folder.drop_trial(trial.number)
        elif trial.role not in (Role.BASELINE, Role.CONFIRM):
            self._best = sorted([*self._best, trial], key=self._ranking.key)
            for beaten in self._best[self._keep :]:
                self._folder.drop_trial(beaten.number)
            del self._best[self._keep :]
