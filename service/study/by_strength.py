"""Prunes a trial by comparison with trials that are about as strongly regularised.

A strongly regularised training learns more slowly at first, so that among all trials it looks worse
than it will be.
"""

from __future__ import annotations

from collections.abc import Mapping

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from search_spaces.values import Value
from service.study.attributes import TrialAttributes
from service.study.compat import PartOfStudy
from service.study.sampled_space import read_space
from service.study.strength import Strengths, list_strengths, rank_shares, rank_strengths


class ByStrengthPruner(BasePruner):
    """Asks another pruner, which sees the trials of the same stratum only.

    Trials that nothing regularises are a stratum, the baseline and the controls among them; the
    others are divided into ``strata`` of about the same size by their rank in strength. Replicates
    belong to none. The strata follow from the trials that have started, hence from the study.
    """

    def __init__(self, pruner: BasePruner, strata: int) -> None:
        self._pruner, self._count = pruner, strata
        self._strata: _Strata | None = None

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """What the other pruner says of the trial among its peers."""
        if self._strata is None or self._strata.study is not study:
            self._strata = _Strata(study, self._count)
        return self._pruner.prune(self._strata.find_peers(trial.number), trial)


class _Strata:
    """The strata of a study's trials, which grow with it."""

    def __init__(self, study: Study, count: int) -> None:
        self.study, self._count = study, count
        self._neutral = _find_neutral(study)
        self._known: dict[int, Strengths | None] = {}
        self._found: dict[int, int] = {}
        self._seen: dict[int | None, PartOfStudy] = {}

    def find_peers(self, number: int) -> Study:
        """The study with the trials of the same stratum as a trial's only."""
        self._update()
        own = self._found.get(number)
        if own not in self._seen:
            peers = {n for n, stratum in self._found.items() if stratum == own}
            self._seen[own] = PartOfStudy(self.study, peers)
        return self._seen[own]

    def _update(self) -> None:
        """Find the stratum of each trial that has started; 0 where nothing regularises it."""
        trials = self.study.get_trials(deepcopy=False)
        before = len(self._known)
        for trial in trials[before:]:  # they start in the order of their numbers
            attributes = TrialAttributes.of(trial)
            if attributes.params is None:
                break
            replicate = attributes.confirms is not None
            self._known[trial.number] = (
                None if replicate else list_strengths(attributes.params, self._neutral)
            )
        if len(self._known) > before:
            self._found = divide(
                {n: s for n, s in self._known.items() if s is not None}, self._count
            )
            self._seen.clear()


def divide(found: Mapping[int, Strengths], strata: int) -> dict[int, int]:
    """The stratum of each configuration: 0 where nothing regularises it, else from 1 on.

    Those of equal strength are in the same one.
    """
    regularised = {number: strengths for number, strengths in found.items() if strengths}
    ranked = rank_strengths(regularised)
    shares = dict(zip(ranked, rank_shares(list(ranked.values())), strict=True))
    return {
        number: 1 + min(strata - 1, int(strata * shares[number])) if number in shares else 0
        for number in found
    }


def _find_neutral(study: Study) -> Mapping[str, Value]:
    space = read_space(study)
    found = {} if space is None else space.parameters
    return {name: p.neutral for name, p in found.items() if p.regularises}
