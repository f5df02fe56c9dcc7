"""A running sweep as its observers know it, kept up to date trial by trial."""

from __future__ import annotations

from collections import Counter

from service.study.ranking import list_challengers
from service.study.records import Role, Trial, TrialState
from service.sweep.sweep_record import Sweep


class SweepSoFar:
    """Counts of trials, those that run or pause, the baseline and the best.

    ``settled_seconds`` are those of all trials of the search that do not run, and those of
    the confirmation's.

    To take a trial takes as long in a long sweep as in a short one.
    """

    def __init__(self, sweep: Sweep) -> None:
        """``sweep`` is as it was when the session began."""
        self.sweep_id, self.metric, self.mode = sweep.sweep_id, sweep.metric, sweep.mode
        self.max_epochs, self.most_epochs = sweep.max_epochs, sweep.most_epochs
        self.changes = sweep.changes
        self.ranking = sweep.ranking
        self.running: dict[int, Trial] = {}
        self.paused: dict[int, Trial] = {}
        self.baseline: Trial | None = None
        self.settled_seconds = [0.0, 0.0]
        self._challenger: Trial | None = None
        self._known: dict[int, tuple[TrialState, float]] = {}
        self._counts: Counter[TrialState] = Counter()
        for trial in sweep.trials:
            self.take(trial)

    @property
    def best(self) -> Trial | None:
        """The best completed trial, see :meth:`service.study.ranking.Ranking.best`."""
        return self._challenger or self.baseline

    @property
    def started(self) -> int:
        """The number of trials."""
        return len(self._known)

    @property
    def ended(self) -> int:
        """The number of trials that have ended."""
        return sum(count for state, count in self._counts.items() if state.has_ended)

    @property
    def counts(self) -> dict[TrialState, int]:
        """The number of trials in each state."""
        return {state: self._counts[state] for state in TrialState}

    def take(self, trial: Trial) -> None:
        """Take a new trial, or what has become of one."""
        before, seconds = self._known.get(trial.number, (None, 0.0))
        if before is not None:
            self._counts[before] -= 1
        self._counts[trial.state] += 1
        for state, trials in (
            (TrialState.RUNNING, self.running),
            (TrialState.PAUSED, self.paused),
        ):
            trials.pop(trial.number, None)
            if trial.state is state:
                trials[trial.number] = trial
        settled = 0.0 if trial.state is TrialState.RUNNING else trial.seconds
        self.settled_seconds[trial.confirms is not None] += settled - seconds
        self._known[trial.number] = trial.state, settled
        self._rank(trial)

    def _rank(self, trial: Trial) -> None:
        if trial.role is Role.BASELINE and trial.state is TrialState.COMPLETE:
            self.baseline = trial
        best = self._challenger
        if best is not None and best.number == trial.number:
            self._challenger = trial
        elif list_challengers([trial]):
            key = self.ranking.key
            self._challenger = trial if best is None else min(best, trial, key=key)
