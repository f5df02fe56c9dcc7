"""Which weights stay on disk while a sweep runs: the baseline, the best controls and trials."""

from __future__ import annotations

from collections.abc import Iterable

from service.study.events import Observer
from service.study.ranking import Ranking
from service.study.records import Role, Trial, TrialState
from service.sweep.home import SweepFolder


class FinalistWeights(Observer):
    """An observer that deletes unneeded weights as soon as a trial has ended.

    The baseline stays, the best of the tuned controls, and the best ``keep`` of the search's other
    trials. What a replicate scored on the test samples is in a file of its own; its weights are
    not needed.
    """

    def __init__(
        self, folder: SweepFolder, ranking: Ranking, known: Iterable[Trial], keep: int = 1
    ) -> None:
        self._folder = folder
        self._ranking = ranking
        self._keep = {Role.BASELINE: 1, Role.CONTROL: 1, Role.SEARCH: keep}
        self._best: dict[Role, list[Trial]] = {role: [] for role in self._keep}
        for trial in known:
            if trial.state is not TrialState.RUNNING:
                self.ended(trial)

    def ended(self, trial: Trial) -> None:
        """Keep its weights if it is among the best of its kind, then not those of the last."""
        self._folder.checkpoint(trial.number).unlink(missing_ok=True)
        again = trial.confirms is not None and trial.role is not Role.AUDIT
        if trial.state is not TrialState.COMPLETE or again:
            self._folder.drop_trial(trial.number)
            return
        kind = trial.role if trial.role in self._keep else Role.SEARCH
        best = self._best[kind] = sorted([*self._best[kind], trial], key=self._ranking.key)
        for beaten in best[self._keep[kind] :]:
            self._folder.drop_trial(beaten.number)
        del best[self._keep[kind] :]
