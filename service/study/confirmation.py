"""The trainings that follow a search: replicates of its finalists and of the control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna

from search_spaces.points import select_representable
from search_spaces.space import SearchSpace
from service.study.attributes import TrialAttributes
from service.study.records import Params, Role, Trial


@dataclass(frozen=True, kw_only=True)
class ReplicateRun:
    """One training: a configuration in one replicate.

    ``confirms`` is the number of the search's trial that the configuration is from; the other
    fields are those of :class:`service.study.messages.Assignment`.
    """

    confirms: int
    params: Params
    role: Role
    seed: int
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
    """Put replicates into the study's queue."""
    for run in runs:
        attributes = TrialAttributes(
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
