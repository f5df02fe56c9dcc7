"""What the trainings of a spec may take at most, by the time of one step on this CPU."""

from __future__ import annotations

from dataclasses import dataclass

from service.spec.model import SweepSpec
from trainables.analysis.examine import Examination

_MEASURED = 1.3
"""An epoch by its steps alone: the measurement of the gap is added."""


@dataclass(frozen=True)
class CostEstimate:
    """Trainings of the search (one for each fold) and after it, each of so many epochs at most.

    ``step`` and ``epoch`` are seconds, of a training that is alone.
    """

    searched: int
    after: int
    epochs: int
    step: float
    epoch: float

    @property
    def seconds(self) -> float:
        """Of all trainings, one after the other."""
        return (self.searched + self.after) * self.epochs * self.epoch


def estimate_cost(spec: SweepSpec, examined: Examination) -> CostEstimate | None:
    """What all trainings of a spec may take; None if the steps of an epoch are not known."""
    if examined.steps is None:
        return None
    searched = spec.budget.trials + (spec.audit.trials if spec.audit else 0)
    return CostEstimate(
        searched * (spec.search.folds or 1),
        spec.confirm.total_trainings if spec.confirm else 0,
        spec.most_epochs,
        examined.seconds,
        examined.steps * examined.seconds * _MEASURED,
    )
