"""How many trials a search may start and has started, and why it ends before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as StudyTrialState

from search_spaces.space import SearchSpace
from service.study.attributes import TrialAttributes
from service.study.drawn_points import EXHAUSTED, is_exhausted, is_finite
from service.study.study import SweepStudy
from service.study.trial_reader import list_frozen_trials


class SearchBudget:
    """The budget of a study's search, which the study stores. Confirmations are not part of it."""

    def __init__(
        self,
        study: SweepStudy,
        space: SearchSpace,
        enough: Callable[[], str | None] | None,
        known: Iterable[FrozenTrial],
    ) -> None:
        """``enough`` says why the search may end early; ``known`` are the study's trials."""
        self._study, self._space, self._enough = study, space, enough
        attributes = study.attributes
        self._total, self._end = attributes.budget, attributes.search_end
        self._may_end_early = enough is not None or is_finite(space)
        self._started = sum(
            t.state is not StudyTrialState.WAITING and TrialAttributes.of(t).confirms is None
            for t in known
        )

    @property
    def is_set(self) -> bool:
        """Whether the study has a budget already."""
        return self._total is not None

    @property
    def total(self) -> int:
        """How many trials the search may start, its extensions included."""
        assert self._total is not None, "the session was not prepared"
        return self._total

    @property
    def used(self) -> bool:
        """Whether the search starts no new trial, whatever time is left."""
        return self._end is not None or self._started >= self.total

    def set(self, total: int) -> None:
        """Set the budget of a new study."""
        self._study.store(replace(self._study.attributes, budget=total, planned=total))
        self._total = total

    def extend(self, total: int) -> None:
        """Set a new total, so that a search which has ended may go on."""
        self._total, self._end = total, None
        extended = replace(self._study.attributes, budget=total, search_end=None, unused=0)
        self._study.store(extended)

    def count_start(self) -> None:
        """Count one more trial as started."""
        self._started += 1

    def end_early(self) -> None:
        """End the search if its space is exhausted, or if it has found enough.

        What was queued is trained before.
        """
        if not self._may_end_early:
            return
        trials = list_frozen_trials(self._study.optuna)
        if any(t.state is StudyTrialState.WAITING for t in trials):
            return
        reason = EXHAUSTED if is_exhausted(self._study.optuna, self._space) else None
        if reason is None and self._enough is not None:
            reason = self._enough()
        if reason is not None:
            self._end, left = reason, self.total - self._started
            ended = replace(self._study.attributes, search_end=reason, unused=max(0, left))
            self._study.store(ended)
