"""Which trials run again with new seeds when a search is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from search_spaces.points import representable
from search_spaces.space import SearchSpace
from service.study.records import Role, Sweep, SweepState, Trial, TrialState
from service.study.trial_reader import frozen_trials, read_trials


@dataclass(frozen=True)
class Confirmation:
    """After the search: ``top_k`` finalists and the baseline again, with each of ``seeds``."""

    top_k: int
    seeds: Sequence[int]


def unconfirmed(study: optuna.Study, confirm: Confirmation) -> list[tuple[Trial, int]]:
    """Finalists, the baseline first, with the seeds that they were not queued with yet."""
    sweep = _as_sweep(study)
    queued = {
        (t.user_attrs["confirms"], t.user_attrs["seed"])
        for t in frozen_trials(study)
        if "confirms" in t.user_attrs
    }
    complete = [t for t in sweep.searched if t.state is TrialState.COMPLETE]
    baseline = [t for t in complete if t.role is Role.BASELINE]
    challengers = [t for t in complete if t.role is not Role.BASELINE]
    finalists = sorted(challengers, key=sweep.rank)[: confirm.top_k]
    return [
        (trial, seed)
        for seed in confirm.seeds
        for trial in (*baseline, *finalists)
        if (trial.number, seed) not in queued
    ]


def queue_confirmations(study: optuna.Study, space: SearchSpace, confirm: Confirmation) -> None:
    """Put everything that is not confirmed yet into the study's queue."""
    for trial, seed in unconfirmed(study, confirm):
        attrs = {
            "role": Role.CONFIRM.value,
            "fixed": dict(trial.params),
            "confirms": trial.number,
            "seed": seed,
            "unregularised": trial.role is Role.BASELINE,
        }
        study.enqueue_trial(representable(space, trial.params), user_attrs=attrs)


def _as_sweep(study: optuna.Study) -> Sweep:
    """The trials as a sweep, to rank them."""
    maximised = study.direction is optuna.study.StudyDirection.MAXIMIZE
    return Sweep(
        sweep_id="",
        name=study.study_name,
        state=SweepState.RUNNING,
        seconds=0.0,
        metric="",
        mode="max" if maximised else "min",
        max_epochs=0,
        trials=read_trials(study),
    )
