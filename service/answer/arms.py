"""The arms of a confirmation as they stand: which replicates ended, what they scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from service.study.ranking import (
    CONTROL_PREFIX,
    Ranking,
    Shortlist,
    list_challengers,
    measure_sparsity,
    view_control,
)
from service.study.records import Role, Trial, TrialState
from trainables.config.trial_parameters import list_parts

if TYPE_CHECKING:
    from service.spec.model import SweepSpec

Rows = Mapping[str, NDArray[np.float64]]
RowsReader = Callable[[Trial], Rows]
"""The metrics of a replicate on every test sample; those of its control begin with ``control/``."""


EVERYTHING = "regularisation"
"""What a trial is without that only keeps its other parameters: it is a control of its own."""


@dataclass(frozen=True)
class Arm:
    """A configuration: a trial of the search without some of its parts."""

    trial: int
    without: tuple[str, ...] = ()

    @property
    def keeps_nothing(self) -> bool:
        """Whether only the trial's other parameters are left, without any regulariser."""
        return self.without == (EVERYTHING,)


@dataclass(frozen=True)
class Race:
    """Finalists, control, and every replicate that was trained of them or of their reductions.

    ``finalists`` are the search's shortlist, best first. ``reference`` is the control's arm where
    that is not the control of the search.
    """

    ranking: Ranking
    finalists: tuple[Trial, ...]
    control: Trial
    replicates: Mapping[Arm, Mapping[int, Trial]]
    redrawn: Mapping[Arm, Mapping[int, Trial]]
    reference: Arm | None = None

    @classmethod
    def read(cls, spec: SweepSpec, trials: Sequence[Trial]) -> Race | None:
        """The race among a sweep's trials; None without a control or without a finalist."""
        ranking = Ranking.of(spec)
        control = ranking.find_control(trials)
        finalists = Shortlist.of(spec).select(list_challengers(trials))
        if control is None or not finalists:
            return None
        ended = [t for t in trials if t.replicate and t.state.has_ended]
        return cls(
            ranking,
            finalists,
            control,
            _group(t for t in ended if not t.redraws_test),
            _group(t for t in ended if t.redraws_test),
        )

    @property
    def control_arm(self) -> Arm:
        """The arm of the control, whose trainings are the baseline's too."""
        return self.reference or Arm(self.control.number)

    def is_control(self, arm: Arm) -> bool:
        """Whether an arm's trainings have no regularisation, and are judged twice."""
        return arm.keeps_nothing or arm == Arm(self.control.number)

    @property
    def family(self) -> str:
        """What the finalists were chosen from the search as, with their control."""
        numbers = ",".join(str(t.number) for t in sorted(self.finalists, key=lambda t: t.number))
        return f"finalists {numbers}; control {self.control.number}"

    def find_trial(self, arm: Arm) -> Trial:
        """The trial of the search that an arm's configuration is from."""
        return next(t for t in (self.control, *self.finalists) if t.number == arm.trial)

    def count(self, arm: Arm) -> int:
        """How many replicates ended, from the first on without a hole."""
        ended = self.replicates.get(arm, {})
        return next(r for r in range(len(ended) + 1) if r + 1 not in ended)

    def list_costs(self, arm: Arm, count: int) -> list[float]:
        """The objective's cost on validation samples by replicate; infinite where one failed."""
        return [self._cost(arm, r) for r in range(1, count + 1)]

    def measure_sparsity(self, arm: Arm) -> float:
        """The mean share of zeros of an arm's completed replicates."""
        trials = (t for t in self.replicates.get(arm, {}).values() if t.value is not None)
        found = [measure_sparsity(t) for t in trials]
        return fmean(found) if found else 0.0

    def is_feasible(self, arm: Arm, count: int) -> bool:
        """Whether an arm meets the constraints on average."""
        trials = self.replicates.get(arm, {})
        found = [t.violation or 0.0 for r, t in trials.items() if r <= count]
        return not found or fmean(found) <= 0

    def view(self, arm: Arm, replicate: int, *, redrawn: bool = False) -> Trial | None:
        """A completed replicate, the control at the epoch that early stopping keeps."""
        trials = (self.redrawn if redrawn else self.replicates).get(arm, {})
        trial = trials.get(replicate)
        if trial is None or trial.state is not TrialState.COMPLETE:
            return None
        return view_control(trial, self.ranking.metric) if self.is_control(arm) else trial

    def find_complete(self, arm: Arm, replicate: int) -> Trial | None:
        """A completed replicate as it was trained, a control at its last epoch."""
        trial = self.replicates.get(arm, {}).get(replicate)
        return trial if trial is not None and trial.state is TrialState.COMPLETE else None

    def list_not_acting(self, arm: Arm, count: int) -> frozenset[str]:
        """The parts without effect in all completed ones of an arm's first replicates."""
        found = (self.find_complete(arm, r) for r in range(1, count + 1))
        each = [frozenset(t.not_acting) for t in found if t is not None]
        return frozenset.intersection(*each) if each else frozenset()

    def _cost(self, arm: Arm, replicate: int) -> float:
        trial = self.view(arm, replicate)
        return float("inf") if trial is None else self.ranking.cost(trial)


@dataclass(frozen=True)
class TestScores:
    """Costs on test samples: the objective's counterpart, such that low is good."""

    metric: str
    sign: float
    read: RowsReader

    @classmethod
    def of(
        cls, ranking: Ranking, better_high: Callable[[str], bool], read: RowsReader
    ) -> TestScores:
        """The counterpart of an objective.

        That of a gap is its metric on the test samples; where there is none, it is the loss.
        """
        side, _, name = ranking.metric.partition("/")
        name = name if side in ("train", "val", "gap") else "loss"
        high = ranking.mode == "max" if side == "val" else better_high(name)
        return cls(name, -1.0 if high else 1.0, read)

    def name_metric(self, race: Race) -> str:
        """The metric that is compared."""
        return f"test/{self.metric}"

    def table(self, race: Race, arm: Arm, count: int, *, redrawn: bool = False) -> list[Row | None]:
        """Costs by replicate, each ``(rows,)``; None where a replicate failed.

        Redrawn test samples differ between replicates, so that only their mean is comparable.
        """
        found: list[Row | None] = []
        for replicate in range(1, count + 1):
            trial = race.view(arm, replicate, redrawn=redrawn)
            row = None if trial is None else self._find(trial, race.is_control(arm))
            found.append(row.mean(keepdims=True) if redrawn and row is not None else row)
        return found

    def baseline(self, race: Race, count: int) -> list[Row | None]:
        """Costs of the control's trainings at their last epoch, by replicate."""
        trials = (race.find_complete(race.control_arm, r) for r in range(1, count + 1))
        return [None if t is None else self._find(t, False) for t in trials]

    def _find(self, trial: Trial, at_control: bool) -> Row | None:
        rows = self.read(trial)
        prefixed = f"{CONTROL_PREFIX}{self.metric}"
        name = prefixed if at_control and prefixed in rows else self.metric
        return self.sign * rows[name] if name in rows else None


Row = NDArray[np.float64]


def list_arm_parts(spec: SweepSpec, race: Race, arm: Arm) -> tuple[str, ...]:
    """The parts of an arm that can be taken away."""
    parts = list_parts(spec, race.find_trial(arm).params)
    return tuple(p for p in parts if p not in arm.without)


def list_acting_parts(spec: SweepSpec, race: Race, arm: Arm, count: int) -> tuple[str, ...]:
    """Those parts of an arm that acted in a training of it, of its first ``count`` replicates.

    Without any completed replicate all of them.
    """
    idle = race.list_not_acting(arm, count)
    return tuple(p for p in list_arm_parts(spec, race, arm) if p not in idle)


def take_away(arm: Arm, *parts: str) -> Arm:
    """The arm without more of its parts."""
    return replace(arm, without=tuple(sorted({*arm.without, *parts})))


def _group(trials: Iterable[Trial]) -> Mapping[Arm, Mapping[int, Trial]]:
    found: dict[Arm, dict[int, Trial]] = {}
    for trial in trials:
        if trial.role in (Role.REPLICATE, Role.REMOVAL) and trial.confirms is not None:
            found.setdefault(Arm(trial.confirms, trial.without), {})[trial.replicate] = trial
    return found
