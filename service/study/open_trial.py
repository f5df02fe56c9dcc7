"""A trial that a session handed out and that has not ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

import optuna
from optuna.trial import FrozenTrial

from service.study.attributes import TrialAttributes
from service.study.ranking import CONTROL_PREFIX
from service.study.records import Role
from trainables.config.folds import FoldEpoch

_PRUNABLE = (Role.SEARCH, Role.ENQUEUED, Role.CONTROL)


@dataclass
class OpenTrial:
    """An open trial: ``reported`` are its steps in the study, ``since`` is when its time began.

    ``since`` lies in the past by the seconds that the trial took before it was interrupted.
    """

    trial: optuna.Trial
    prunable: bool
    reported: set[int]
    since: float
    located: bool = False
    reason: str = "pruned by the study"

    @classmethod
    def of(cls, trial: optuna.Trial, frozen: FrozenTrial, handed_out: float) -> OpenTrial:
        """The trial as the study has it, handed out at this time."""
        attributes = TrialAttributes.of(frozen)
        return cls(
            trial,
            attributes.role in _PRUNABLE,
            set(frozen.intermediate_values),
            handed_out - attributes.seconds,
        )

    @property
    def attributes(self) -> TrialAttributes:
        """What the study stores of it; what is set here is written at once."""
        return TrialAttributes.of(self.trial)

    @attributes.setter
    def attributes(self, changed: TrialAttributes) -> None:
        changed.store(self.trial)

    def end_fold(self, fold: FoldEpoch) -> None:
        """Keep what was measured at the end of a fold, unless it is known."""
        attributes = self.attributes
        if fold.kept is None or fold.fold <= len(attributes.folds):
            return
        control = {f"{CONTROL_PREFIX}{name}": v for name, v in (fold.control or {}).items()}
        measured = {**fold.kept, **control}
        self.attributes = replace(attributes, folds=(*attributes.folds, measured))

    def measure_seconds(self, now: float) -> float:
        """Seconds that it took until ``now``."""
        return max(0.0, now - self.since)
