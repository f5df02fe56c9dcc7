"""What happened, as frozen values: trials, their epochs, a sweep. Nothing here acts.

Everything that reads a sweep (report, summary, tracking, command line) reads these records; the
study and the sweep's folder are where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from search_spaces.space import Value

if TYPE_CHECKING:  # it would bring torch along
    from trainables.analysis.anatomy import Anatomy

Params = Mapping[str, Value]
Metrics = Mapping[str, float]


OUT_OF_BUDGET = "the sweep's budget was used up"
"""The reason of a trial that the sweep's end ended and not the pruner."""


class TrialState(StrEnum):
    """How a trial stands; the study's own states, a waiting trial being no trial yet."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


class Role(StrEnum):
    """Why a trial exists."""

    BASELINE = "baseline"  # no regularisation at all: what every gap is compared with
    ENQUEUED = "enqueued"  # a point the spec named
    SEARCH = "search"  # the sampler's choice
    CONFIRM = "confirm"  # a finalist or the baseline again, with another seed


class SweepState(StrEnum):
    """How a sweep stands on disk."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of one trial, as measured: ``epoch`` counts from 1, ``time`` is Unix seconds."""

    trial: int
    epoch: int
    time: float
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration with one seed.

    ``params`` holds what was run, the baseline's neutral values included. ``best`` holds the
    metrics at the restored weights without their ``best/`` prefix (``val/loss``, ``gap/loss``,
    ``epoch`` …), plus ``test/*`` and ``test_gap/*`` for finalists. ``violation`` is the sum of
    positive constraint excesses: 0.0 is feasible, None is not known (pruned, failed, running).
    ``started`` and ``ended`` are Unix seconds. ``confirms`` is the number of the trial that this
    one repeats, with ``seed`` instead of the spec's. ``anatomy`` is known of finalists. ``ran_on``
    says the device and the precision.
    """

    number: int
    state: TrialState
    role: Role
    params: Params
    value: float | None = None
    best: Metrics = field(default_factory=dict)
    stopped_epoch: int | None = None
    violation: float | None = None
    reason: str | None = None
    confirms: int | None = None
    seed: int | None = None
    anatomy: Anatomy | None = None
    ran_on: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    started: float | None = None
    ended: float | None = None
    epochs: tuple[Epoch, ...] = ()

    @property
    def penalty(self) -> str:
        """The penalty's name, ``none`` where the space has no penalty."""
        return str(self.params.get("penalty", "none"))

    @property
    def augmentation(self) -> str:
        """The augmentation's name, ``none`` where the space has none."""
        return str(self.params.get("augmentation", "none"))

    def series(self, metric: str) -> tuple[list[int], list[float]]:
        """Epoch numbers and values of one metric, in order, epochs without it left out."""
        points = [(e.epoch, e.metrics[metric]) for e in self.epochs if metric in e.metrics]
        return [p[0] for p in points], [p[1] for p in points]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A whole sweep as it stands, with every trial the study knows, by number.

    ``metric`` and ``mode`` (``min`` or ``max``) are the objective's; ``max_epochs`` is what one
    trial may train; ``seconds`` is the time spent over all sessions. ``one_standard_error`` says
    how a confirmed sweep picks its best, see :attr:`best`.
    """

    sweep_id: str
    name: str
    state: SweepState
    seconds: float
    metric: str
    mode: str
    max_epochs: int
    trials: tuple[Trial, ...]
    one_standard_error: bool = False

    def of_state(self, state: TrialState) -> tuple[Trial, ...]:
        """The trials in one state."""
        return tuple(t for t in self.trials if t.state is state)

    @property
    def baseline(self) -> Trial | None:
        """The completed trial without regularisation, if the sweep has one."""
        complete = self.of_state(TrialState.COMPLETE)
        return next((t for t in complete if t.role is Role.BASELINE), None)

    @property
    def repeats(self) -> Mapping[int, tuple[Trial, ...]]:
        """The completed confirmations of each trial that has any, by its number."""
        complete = [t for t in self.of_state(TrialState.COMPLETE) if t.confirms is not None]
        numbers = sorted({t.confirms for t in complete if t.confirms is not None})
        return {n: tuple(t for t in complete if t.confirms == n) for n in numbers}

    @property
    def searched(self) -> tuple[Trial, ...]:
        """Every trial but confirmations."""
        return tuple(t for t in self.trials if t.confirms is None)

    @property
    def best(self) -> Trial | None:
        """The best completed trial but the baseline, or the baseline where nothing else completed.

        By :meth:`rank`; of a confirmed sweep the finalist with the best mean over its
        confirmations, or by the one-standard-error rule, of those whose mean is within one
        standard error of it, the one with the smallest gap (Hastie et al. 2009, section 7.10).
        """
        candidates = [
            t
            for t in self.searched
            if t.state is TrialState.COMPLETE and t.role is not Role.BASELINE
        ]
        confirmed = [t for t in candidates if t.number in self.repeats]
        if confirmed:
            return self._pick(confirmed)
        return min(candidates, key=self.rank, default=self.baseline)

    def rank(self, trial: Trial) -> tuple[float, float, int]:
        """Sort key of a completed trial: feasible first, then the value, then the number."""
        return trial.violation or 0.0, self._cost(trial), trial.number

    def _cost(self, trial: Trial) -> float:
        sign = -1.0 if self.mode == "max" else 1.0
        return sign * trial.value if trial.value is not None else float("inf")

    def _pick(self, confirmed: Sequence[Trial]) -> Trial:
        costs = {t.number: [self._cost(r) for r in self.repeats[t.number]] for t in confirmed}
        means = {number: fmean(values) for number, values in costs.items()}
        winner = min(confirmed, key=lambda t: (t.violation or 0.0, means[t.number], t.number))
        values = costs[winner.number]
        if not self.one_standard_error or len(values) < 2:
            return winner
        limit = means[winner.number] + stdev(values) / len(values) ** 0.5
        within = [t for t in confirmed if means[t.number] <= limit and not t.violation]
        return min(within or [winner], key=lambda t: (self._mean_gap(t), t.number))

    def _mean_gap(self, trial: Trial) -> float:
        return fmean(r.best.get("gap/loss", float("inf")) for r in self.repeats[trial.number])
