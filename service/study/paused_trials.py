"""Trials that left their slots and go on from their checkpoints when they rank again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial

from service.study.attributes import TrialAttributes, is_paused
from service.study.compat import read_frozen, reopen_trial
from service.study.promotion import PromotingPruner
from service.study.trial_reader import list_frozen_trials


class PausedTrials:
    """The paused trials of a study, which has them as RUNNING; true if there is any."""

    def __init__(self, study: optuna.Study, known: Iterable[FrozenTrial]) -> None:
        self._study = study
        self._numbers = {t.number for t in known if is_paused(t)}

    def __contains__(self, number: int) -> bool:
        return number in self._numbers

    def __bool__(self) -> bool:
        return bool(self._numbers)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Their numbers, in order."""
        return tuple(sorted(self._numbers))

    @property
    def may_grow(self) -> bool:
        """Whether the pruner pauses trials."""
        return isinstance(self._study.pruner, PromotingPruner)

    def add(self, number: int) -> FrozenTrial:
        """Mark a trial as paused."""
        trial = self._reopen(number)
        attributes = TrialAttributes.of(trial)
        # last: a session after a kill decides again about a trial that was not paused yet
        replace(attributes, attempts=attributes.attempts + 1, paused=True).store(trial)
        self._numbers.add(number)
        return list_frozen_trials(self._study)[number]

    def promote(self, *, last: bool) -> optuna.Trial | None:
        """Take out the trial that goes on next; None if none does now.

        ``last`` says that the search starts no new trial.
        """
        pruner = self._study.pruner
        if not self._numbers or not isinstance(pruner, PromotingPruner):
            return None
        number = pruner.choose(self._study, last=last)
        if number is None:
            return None
        trial = self._reopen(number)
        last_step = read_frozen(trial).last_step or 0
        promoted = replace(TrialAttributes.of(trial), promoted=last_step)
        promoted.store(trial)
        # last: a session after a kill chooses it again as long as it is paused
        replace(promoted, paused=False).store(trial)
        self._numbers.remove(number)
        return trial

    def take(self, number: int, reason: str) -> None:
        """Take a trial out, with the reason why it ends."""
        trial = self._reopen(number)
        replace(TrialAttributes.of(trial), reason=reason).store(trial)
        self._numbers.remove(number)

    def _reopen(self, number: int) -> optuna.Trial:
        return reopen_trial(self._study, list_frozen_trials(self._study)[number])
