"""Every use of undocumented behaviour of Optuna.

Each function names what it relies on; ``tests/unit/test_compat.py`` fails when Optuna changes it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

CHECKED_WITH = "5.0.0"
"""The version of Optuna with which this module was last checked."""

CREATE_STUDY, DELETE_STUDY, CREATE_TRIAL = 0, 1, 4
SET_PARAM, SET_STATE, SET_INTERMEDIATE_VALUE, SET_TRIAL_SYSTEM_ATTR = 5, 6, 7, 9
"""The journal ``op_code`` of operations on studies and trials.

``optuna.storages.journal._storage.JournalOperation`` in Optuna 5.0; every existing journal
contains these numbers, so their meaning cannot change.
"""


def reopen_trial(study: optuna.Study, frozen: FrozenTrial) -> optuna.Trial:
    """Open a RUNNING trial of the study, to continue it.

    Optuna 5.0 has no public function for this: ``study.ask`` creates a new trial.
    ``optuna.Trial`` takes the study and ``FrozenTrial._trial_id``, as ``study.ask`` itself does.
    """
    return optuna.Trial(study, frozen._trial_id)


def ask_queued(study: optuna.Study, wanted: Callable[[FrozenTrial], bool]) -> optuna.Trial | None:
    """The first trial of the study's queue that is wanted, now RUNNING; None if there is none.

    ``study.ask`` of Optuna 5.0 takes the first one of all, by the same call of its storage.
    """
    queue = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    found = next((t for t in queue if wanted(t)), None)
    if found is None:
        return None
    study._storage.set_trial_state_values(found._trial_id, state=TrialState.RUNNING)
    return optuna.Trial(study, found._trial_id)


def read_frozen(trial: optuna.Trial) -> FrozenTrial:
    """The trial as its study has it now; the caller must not change it.

    ``study.get_trials`` lists all trials for it, which takes the longer the more there are.
    """
    return trial.study._storage.get_trial(trial._trial_id)


def copy_changes(source: optuna.Study, target: optuna.Study, number: int) -> None:
    """Write what ``source`` has more of a running trial, and of itself, into ``target``.

    That is what samplers and pruners write: parameters and system attributes, for which Optuna 5.0
    has public functions of a storage only. Parameters keep their order: ``QMCSampler`` takes the
    dimensions of its sequence from it.
    """
    storage, changed = target._storage, source.trials[number]
    before = target.trials[number]
    for name in (n for n in changed.params if n not in before.params):
        distribution = changed.distributions[name]
        value = distribution.to_internal_repr(changed.params[name])
        storage.set_trial_param(before._trial_id, name, value, distribution)
    for key, value in _find_changes(changed.system_attrs, before.system_attrs):
        storage.set_trial_system_attr(before._trial_id, key, value)
    known = storage.get_study_system_attrs(target._study_id)
    for key, value in _find_changes(
        source._storage.get_study_system_attrs(source._study_id), known
    ):
        storage.set_study_system_attr(target._study_id, key, value)


class ViewedStudy(optuna.Study):
    """A study as samplers or pruners are to see it: without some trials, or others in their place.

    Optuna 5.0 calls the constructor not recommended; ``HyperbandPruner`` makes such a study in the
    same way, and so cannot be asked about this one: it would see all trials. All reading of trials
    goes through ``_get_trials``, which ``TPESampler`` calls itself.
    """

    def __init__(
        self, study: optuna.Study, view: Callable[[FrozenTrial], FrozenTrial | None]
    ) -> None:
        """``view`` returns what is seen of a trial: itself, another one, or None."""
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._view = view

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        every = super()._get_trials(deepcopy=False, use_cache=use_cache)
        seen = (found for t in every if (found := self._view(t)) is not None)
        trials = [t for t in seen if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    @property
    def best_trial(self) -> FrozenTrial:
        """The best complete and feasible trial that can be seen.

        Raises:
            ValueError: there is none.
        """
        complete = self.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = -1 if self.direction is StudyDirection.MAXIMIZE else 1
        feasible = [t for t in complete if all(c <= 0 for c in t.constraints.values())]
        return min(feasible, key=lambda t: sign * (t.value or 0.0))


class PartOfStudy(ViewedStudy):
    """A study of which the trials of some numbers are seen; a pruner may ask it after every epoch.

    Those that have ended are looked at once: they never change, and none becomes fewer.
    """

    def __init__(self, study: optuna.Study, numbers: Container[int]) -> None:
        super().__init__(study, lambda t: t if t.number in numbers else None)
        self._numbers = numbers
        self._ended: dict[frozenset[TrialState], tuple[int, list[FrozenTrial]]] = {}

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        wanted = frozenset(s for s in TrialState if states is None or s in states)
        if not all(s.is_finished() for s in wanted):
            return super()._get_trials(deepcopy, states, use_cache)
        every = optuna.Study._get_trials(self, False, tuple(wanted), use_cache)
        count, seen = self._ended.get(wanted, (0, []))
        if count != len(every):
            seen = [t for t in every if t.number in self._numbers]
            self._ended[wanted] = len(every), seen
        return copy.deepcopy(seen) if deepcopy else list(seen)


def find_whole(study: optuna.Study) -> optuna.Study:
    """The study of which a sampler is shown a part.

    ``HyperbandPruner`` of Optuna 5.0 shows it the trials of one bracket, as a study that refuses
    all attributes but some; ``_study`` is one of them.
    """
    found: optuna.Study = getattr(study, "_study", study)
    return found


def has_bounds_of_sampler(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a sampler's state that is in units of the ranges it was computed for.

    ``CmaEsSampler`` of Optuna 5.0 keeps its optimizer, which knows ranges as 0 to 1, and its points
    in such attributes of trials; without them it begins anew.
    """
    prefixes = ("cma:", "sepcma:", "x_for_tell")
    return any(str(key).startswith(prefixes) for key in entry["system_attr"])


def _find_changes(
    changed: Mapping[str, Any], before: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    return ((k, v) for k, v in changed.items() if k not in before or before[k] != v)
