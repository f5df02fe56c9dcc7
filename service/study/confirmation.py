"""The trainings that follow a search: audits, and replicates of finalists and of the control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna

from search_spaces.points import select_representable
from search_spaces.space import SearchSpace
from service.study.attributes import TrialAttributes
from service.study.records import Params, Role, Trial
from service.study.trial_reader import list_frozen_trials, read_trials


@dataclass(frozen=True, kw_only=True)
class ReplicateRun:
    """One training: a configuration in one replicate.

    ``confirms`` is the number of the search's trial that the configuration is from; the other
    fields are those of :class:`service.study.messages.Assignment`.
    """

    confirms: int
    params: Params
    role: Role
    seed: int | None
    replicate: int
    baseline: bool = False
    without: tuple[str, ...] = ()
    redraws_test: bool = False


class Confirmation(Protocol):
    """Decides what to train after the search. Asked whenever nothing is running."""

    @property
    def trainings(self) -> int:
        """The largest number of trainings that it may ask for."""

    def next_runs(self, trials: Sequence[Trial]) -> Sequence[ReplicateRun]:
        """The trainings to add to these trials; empty when there is nothing left to find out."""


def queue_runs(study: optuna.Study, space: SearchSpace, runs: Sequence[ReplicateRun]) -> None:
    """Put replicates into the study's queue, as one batch."""
    _enqueue(study, space, runs, (len(list_frozen_trials(study)), len(runs)))


def complete_queue(study: optuna.Study, space: SearchSpace, confirm: Confirmation) -> None:
    """Queue what is missing of the last batch, which a kill may have cut short.

    What belongs to it was decided from the trials before its first.
    """
    known = list_frozen_trials(study)
    batch = TrialAttributes.of(known[-1]).batch if known else None
    if batch is None or len(known) >= sum(batch):
        return
    first, _ = batch
    runs = confirm.next_runs([t for t in read_trials(study) if t.number < first])
    _enqueue(study, space, runs[len(known) - first :], batch)


def _enqueue(
    study: optuna.Study, space: SearchSpace, runs: Sequence[ReplicateRun], batch: tuple[int, int]
) -> None:
    for run in runs:
        attributes = TrialAttributes(
            batch=batch,
            role=run.role,
            fixed=run.params,
            confirms=run.confirms,
            seed=run.seed,
            baseline=run.baseline,
            replicate=run.replicate,
            without=run.without,
            redraws_test=run.redraws_test,
        )
        point = select_representable(space, run.params)
        study.enqueue_trial(point, user_attrs=attributes.dump_changed())
