"""What follows from an epoch of a trial, as the study's pruner decides."""

from __future__ import annotations

from enum import Enum

import optuna
from optuna.trial import TrialState

from service.study.attributes import StudyAttributes, is_replicate
from service.study.promotion import PromotingPruner


class Decision(Enum):
    """What to do with a trial after an epoch.

    A paused trial leaves its slot to others, and may be handed out again.
    """

    CONTINUE = "continue"
    PRUNE = "prune"
    PAUSE = "pause"


def decide(trial: optuna.Trial, *, last: bool) -> Decision:
    """What follows from the last epoch of a running trial; ``last``: no new trial follows."""
    if trial.should_prune():
        return Decision.PRUNE
    study = trial.study
    if isinstance(study.pruner, PromotingPruner):
        frozen = study.get_trials(deepcopy=False)[trial.number]
        if study.pruner.pauses(study, frozen, last=last):
            return Decision.PAUSE
    return Decision.CONTINUE


def decide_as_stored(trial: optuna.Trial) -> Decision:
    """The same, where the study alone says whether new trials follow."""
    trials = trial.study.get_trials(deepcopy=False)
    started = (t for t in trials if t.state is not TrialState.WAITING and not is_replicate(t))
    attributes = StudyAttributes.of(trial.study)
    used = attributes.budget is not None and sum(1 for _ in started) >= attributes.budget
    return decide(trial, last=used or attributes.search_end is not None)
