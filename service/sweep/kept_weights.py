"""Which weights stay on disk while a sweep runs: the baseline, the best controls and trials."""

from __future__ import annotations

from collections.abc import Iterable

from service.study.events import Observer
from service.study.ranking import Shortlist
from service.study.records import Role, Trial, TrialState
from service.sweep.home import SweepFolder


class FinalistWeights(Observer):
    """An observer that deletes unneeded weights as soon as a trial has ended.

    The baseline stays, the best of the tuned controls, and what may be on the ``shortlist`` of the
    search's other trials. What a replicate scored on the test samples is in a file of its own; its
    weights are not needed.
    """

    def __init__(self, folder: SweepFolder, shortlist: Shortlist, known: Iterable[Trial]) -> None:
        self._folder = folder
        one = Shortlist(shortlist.ranking)
        self._lists = {Role.BASELINE: one, Role.CONTROL: one, Role.SEARCH: shortlist}
        self._kept: dict[Role, tuple[Trial, ...]] = dict.fromkeys(self._lists, ())
        for trial in known:
            if trial.state.has_ended:
                self.ended(trial)

    def ended(self, trial: Trial) -> None:
        """Keep its weights if it is among the best of its kind, then not those of the last."""
        self._folder.checkpoint(trial.number).unlink(missing_ok=True)
        again = trial.confirms is not None and trial.role is not Role.AUDIT
        if trial.state is not TrialState.COMPLETE or again:
            self._folder.drop_trial(trial.number)
            return
        kind = trial.role if trial.role in self._lists else Role.SEARCH
        known = (*self._kept[kind], trial)
        self._kept[kind] = self._lists[kind].keep(known)
        for number in {t.number for t in known} - {t.number for t in self._kept[kind]}:
            self._folder.drop_trial(number)
