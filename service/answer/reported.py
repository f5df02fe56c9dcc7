"""What replicates scored where loops elsewhere train them: as reported, or as measured there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from service.answer.arms import Race, Rows, RowsReader, TestScores
from service.spec.directions import is_high_good
from service.study.ranking import CONTROL_PREFIX
from service.study.records import GAP_REPORTED, Metrics, Trial

if TYPE_CHECKING:
    from service.spec.model import SweepSpec

TEST = "test/"
_OTHER_SIDES = ("train", "train_reported", "gap", GAP_REPORTED)
SAMPLES = "samples"
"""What of a trial's record says what its metrics are of."""
MEASURED, DIVIDED = "measured", "divided"
"""Samples of the spec's data, measured one by one; used by the loop, which measured itself."""


@dataclass(frozen=True)
class ReportedScores(TestScores):
    """Costs of test samples, one by one where they were measured; else one number that was told.

    Where no test metric was told, it is that of the samples that chose the pick, too.
    ``objective`` is the spec's; ``metric`` is its name without a side.
    """

    objective: str = ""

    @classmethod
    def of_spec(cls, spec: SweepSpec, read: RowsReader) -> ReportedScores:
        """Those of a spec's objective; ``read`` reads what was measured."""
        objective, mode = spec.objective.metric, spec.objective.mode
        side, _, rest = objective.partition("/")
        name = rest if side == "val" or side in _OTHER_SIDES else objective
        of_gap = side in ("gap", GAP_REPORTED)
        high = is_high_good(f"val/{name}", {}) if of_gap else mode == "max"
        return cls(name, -1.0 if high else 1.0, _Reader(name, objective, read), objective)

    def name_metric(self, race: Race) -> str:
        """The metric that was compared."""
        known = [t for runs in race.replicates.values() for t in runs.values()]
        tested = f"{TEST}{self.metric}"
        if any(tested in trial.best for trial in known):
            return tested
        return _name_validated(self.metric, self.objective)


@dataclass(frozen=True)
class _Reader:
    name: str
    objective: str
    read: RowsReader

    def __call__(self, trial: Trial) -> Rows:
        """The values of a replicate, and those of its control."""
        rows = self.read(trial)
        if self.name in rows:
            return rows
        found = {self.name: self._choose(trial.best)}
        if trial.control:
            found[f"{CONTROL_PREFIX}{self.name}"] = self._choose(trial.control)
        return {name: np.array([value]) for name, value in found.items() if value is not None}

    def _choose(self, metrics: Metrics) -> float | None:
        names = (f"{TEST}{self.name}", _name_validated(self.name, self.objective))
        return next((metrics[n] for n in names if n in metrics), None)


def _name_validated(name: str, objective: str) -> str:
    """The validation side of an objective."""
    return f"val/{name}" if objective.partition("/")[0] in _OTHER_SIDES else objective


def find_unequal(
    name: str, metrics: Metrics, samples: str, others: Sequence[Trial], whose: str = "it"
) -> str | None:
    """Why a replicate cannot be compared with others; None if it can.

    ``samples`` says what its metrics are of.
    """
    tested = f"{TEST}{name}"
    for other in others:
        of = f"replicate {other.replicate} of trial {other.confirms}"
        if (tested in other.best) != (tested in metrics):
            had, has = ("has", "has not") if tested in other.best else ("has no", "has")
            return (
                f"{of} {had} {tested}, and {whose} {has}: replicates are compared by it, so all of "
                "them need it, or none"
            )
        theirs = other.ran_on.get(SAMPLES, "")
        if (theirs == MEASURED) != (samples == MEASURED):
            was, is_ = ("was", "was not") if theirs == MEASURED else ("was not", "was")
            return (
                f"{of} {was} measured by trial.evaluate(model), and {whose} {is_}: replicates are "
                "compared by it, so all of them need it, or none"
            )
    return None
