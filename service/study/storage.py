"""Optuna's storage of a journal, whose lists of trials take no longer in a long study."""

from __future__ import annotations

import copy
from collections.abc import Container

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState


class StudyStorage(JournalStorage):
    """The storage of one study. Trials that have ended are not looked at again to list others.

    Optuna 5.0 goes through all trials whenever it looks for one that waits, asks a sampler or a
    pruner. A trial that has ended never changes: those before the first that has not are known by
    their states.
    """

    def __init__(self, backend: BaseJournalBackend) -> None:
        super().__init__(backend)
        self._ended: list[FrozenTrial] = []
        self._by_states: dict[frozenset[TrialState], tuple[int, list[FrozenTrial]]] = {}

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials by number, of these states if they are given."""
        with self._thread_lock:
            self._sync_with_backend()
            self._replay_result.get_study(study_id)  # raises KeyError where there is none
            others = self._list_others(study_id)  # first: it moves trials to those that have ended
            found = self._list_ended(states)
            found += [t for t in others if states is None or t.state in states]
            return copy.deepcopy(found) if deepcopy else found

    def _list_others(self, study_id: int) -> list[FrozenTrial]:
        """The trials from the first one on that has not ended."""
        known = self._replay_result._trials
        ids = self._replay_result._study_id_to_trial_ids[study_id]
        while len(self._ended) < len(ids) and known[ids[len(self._ended)]].state.is_finished():
            self._ended.append(known[ids[len(self._ended)]])
        return [known[i] for i in ids[len(self._ended) :]]

    def _list_ended(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        if states is None:
            return list(self._ended)
        wanted = frozenset(s for s in TrialState if s.is_finished() and s in states)
        if not wanted:
            return []
        seen, found = self._by_states.get(wanted, (0, []))
        found += [t for t in self._ended[seen:] if t.state in wanted]
        self._by_states[wanted] = len(self._ended), found
        return list(found)
