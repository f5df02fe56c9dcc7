"""Which trials run again with new seeds when a search is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from search_spaces.points import select_representable
from search_spaces.space import SearchSpace
from service.study.attributes import TrialAttributes
from service.study.ranking import Ranking, exclude_confirmations, find_baseline
from service.study.records import Role, Trial, TrialState
from service.study.trial_reader import list_frozen_trials, read_trials


@dataclass(frozen=True)
class Confirmation:
    """After the search: ``top_k`` finalists and the baseline again, with each of ``seeds``."""

    top_k: int
    seeds: Sequence[int]


def find_unconfirmed(
    study: optuna.Study, ranking: Ranking, confirm: Confirmation
) -> list[tuple[Trial, int]]:
    """The baseline and then the finalists, with the seeds that they were not queued with yet."""
    attributes = [TrialAttributes.of(t) for t in list_frozen_trials(study)]
    queued = {(a.confirms, a.seed) for a in attributes if a.confirms is not None}
    arms = _arms(read_trials(study), ranking, confirm.top_k)
    return [
        (trial, seed)
        for seed in confirm.seeds
        for trial in arms
        if (trial.number, seed) not in queued
    ]


def _arms(trials: Sequence[Trial], ranking: Ranking, top_k: int) -> list[Trial]:
    """The baseline, if it completed, and the ``top_k`` best of the others."""
    baseline = find_baseline(trials)
    complete = [t for t in exclude_confirmations(trials) if t.state is TrialState.COMPLETE]
    challengers = [t for t in complete if t.role is not Role.BASELINE]
    finalists = sorted(challengers, key=ranking.key)[:top_k]
    return [*([] if baseline is None else [baseline]), *finalists]


def queue_confirmations(
    study: optuna.Study, space: SearchSpace, ranking: Ranking, confirm: Confirmation
) -> None:
    """Put everything that is not confirmed yet into the study's queue."""
    for trial, seed in find_unconfirmed(study, ranking, confirm):
        attributes = TrialAttributes(
            role=Role.CONFIRM,
            fixed=trial.params,
            confirms=trial.number,
            seed=seed,
            baseline=trial.role is Role.BASELINE,
        )
        point = select_representable(space, trial.params)
        study.enqueue_trial(point, user_attrs=attributes.dump_changed())
