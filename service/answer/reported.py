"""What replicates scored where loops elsewhere report it: one number each, no test samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from service.answer.arms import Race, Rows, TestScores
from service.spec.directions import is_high_good
from service.study.ranking import CONTROL_PREFIX
from service.study.records import Metrics, Trial

if TYPE_CHECKING:
    from service.spec.model import SweepSpec

TEST = "test/"
_SIDES = ("train", "val", "gap", "train_reported", "gap_reported")


@dataclass(frozen=True)
class ReportedScores(TestScores):
    """Costs by what was reported: of test samples, else of those that chose the pick, too.

    ``objective`` is the spec's; ``metric`` is its name without a side.
    """

    objective: str = ""

    @classmethod
    def of_spec(cls, spec: SweepSpec) -> ReportedScores:
        """Those of a spec's objective."""
        objective, mode = spec.objective.metric, spec.objective.mode
        side, _, rest = objective.partition("/")
        name = rest if side in _SIDES else objective
        of_gap = side in ("gap", "gap_reported")
        high = is_high_good(f"val/{name}", {}) if of_gap else mode == "max"
        return cls(name, -1.0 if high else 1.0, _Reader(name, objective), objective)

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

    def __call__(self, trial: Trial) -> Rows:
        """The one value of a replicate, and that of its control."""
        found = {self.name: self._choose(trial.best)}
        if trial.control:
            found[f"{CONTROL_PREFIX}{self.name}"] = self._choose(trial.control)
        return {name: np.array([value]) for name, value in found.items() if value is not None}

    def _choose(self, metrics: Metrics) -> float | None:
        names = (f"{TEST}{self.name}", _name_validated(self.name, self.objective))
        return next((metrics[n] for n in names if n in metrics), None)


def _name_validated(name: str, objective: str) -> str:
    """The validation side of an objective."""
    side = objective.partition("/")[0]
    return f"val/{name}" if side in _SIDES and side != "val" else objective


def find_unequal(
    name: str, metrics: Metrics, others: Sequence[Trial], whose: str = "it"
) -> str | None:
    """Why a replicate's metrics cannot be compared with those of other replicates; None if so."""
    tested = f"{TEST}{name}"
    for other in others:
        if (tested in other.best) != (tested in metrics):
            had, has = ("has", "has not") if tested in other.best else ("has no", "has")
            return (
                f"replicate {other.replicate} of trial {other.confirms} {had} {tested}, and "
                f"{whose} {has}: replicates are compared by it, so all of them need it, or none"
            )
    return None
