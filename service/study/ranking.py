"""Ranks trials: pure functions of trial records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

from service.study.records import Role, Trial, TrialState

if TYPE_CHECKING:  # a spec takes longer to import than the ranking
    from service.spec.model import SweepSpec

Mode = Literal["min", "max"]


@dataclass(frozen=True)
class Ranking:
    """Ranks trials by the objective ``metric``; ``mode`` decides if low or high values are better.

    With ``one_standard_error``, the best confirmed trial is not the one with the best mean, but the
    one with the smallest gap among those whose mean is within one standard error of it
    (Hastie et al. 2009, section 7.10).
    """

    metric: str
    mode: Mode
    one_standard_error: bool = False

    @classmethod
    def of(cls, spec: SweepSpec) -> Ranking:
        """Build the ranking of a spec."""
        one = spec.confirm is not None and spec.confirm.pick == "one_standard_error"
        return cls(spec.objective.metric, spec.objective.mode, one)

    def key(self, trial: Trial) -> tuple[float, float, int]:
        """Return a completed trial's sort key: feasible first, then the value, then the number."""
        return trial.violation or 0.0, self._compute_cost(trial), trial.number

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """Return the best completed trial, or the baseline if no other trial completed.

        Trials are compared by :meth:`key`; if any was confirmed, only confirmed trials are
        compared, by their means over the confirmations.
        """
        repeats = group_confirmations(trials)
        candidates = [t for t in exclude_confirmations(trials) if _is_challenger(t)]
        confirmed = [t for t in candidates if t.number in repeats]
        if confirmed:
            return self._pick(confirmed, repeats)
        return min(candidates, key=self.key, default=find_baseline(trials))

    def _compute_cost(self, trial: Trial) -> float:
        sign = -1.0 if self.mode == "max" else 1.0
        return sign * trial.value if trial.value is not None else float("inf")

    def _pick(self, confirmed: Sequence[Trial], repeats: Mapping[int, Sequence[Trial]]) -> Trial:
        costs = {t.number: [self._compute_cost(r) for r in repeats[t.number]] for t in confirmed}
        means = {number: fmean(values) for number, values in costs.items()}
        winner = min(confirmed, key=lambda t: (t.violation or 0.0, means[t.number], t.number))
        values = costs[winner.number]
        if not self.one_standard_error or len(values) < 2:
            return winner
        limit = means[winner.number] + stdev(values) / len(values) ** 0.5
        within = [t for t in confirmed if means[t.number] <= limit and not t.violation]
        gaps = {t.number: _average_gap(repeats[t.number]) for t in within}
        return min(within or [winner], key=lambda t: (gaps.get(t.number, 0.0), t.number))


def find_baseline(trials: Iterable[Trial]) -> Trial | None:
    """Return the completed trial without regularisation, if there is one."""
    complete = (t for t in trials if t.state is TrialState.COMPLETE)
    return next((t for t in complete if t.role is Role.BASELINE), None)


def exclude_confirmations(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Return every trial that is not a confirmation."""
    return tuple(t for t in trials if t.confirms is None)


def group_confirmations(trials: Iterable[Trial]) -> Mapping[int, tuple[Trial, ...]]:
    """Return the completed confirmations by the number of the trial that they confirm, in order."""
    found: dict[int, list[Trial]] = {}
    for trial in trials:
        if trial.confirms is not None and trial.state is TrialState.COMPLETE:
            found.setdefault(trial.confirms, []).append(trial)
    return {number: tuple(found[number]) for number in sorted(found)}


def _is_challenger(trial: Trial) -> bool:
    return trial.state is TrialState.COMPLETE and trial.role is not Role.BASELINE


def _average_gap(repeats: Sequence[Trial]) -> float:
    return fmean(r.best.get("gap/loss", float("inf")) for r in repeats)
