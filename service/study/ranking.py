"""Which trial of a search is better: pure functions of trials' records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from service.study.records import Role, Trial, TrialState

if TYPE_CHECKING:  # a spec takes longer to import than the ranking
    from service.spec.model import SweepSpec

Mode = Literal["min", "max"]
CONTROL_PREFIX = "control/"
"""What is measured at the control's weights of a training that has other weights too."""
_CHALLENGERS = (Role.SEARCH, Role.ENQUEUED, Role.AUDIT)


@dataclass(frozen=True)
class Ranking:
    """By the objective ``metric``; by ``mode``, low or high values are better."""

    metric: str
    mode: Mode

    @classmethod
    def of(cls, spec: SweepSpec) -> Ranking:
        """What a spec compares its trials by."""
        return cls(spec.objective.metric, spec.objective.mode)

    def key(self, trial: Trial) -> tuple[float, float, int]:
        """Sort key of a completed trial: feasible first, then the value, then the number."""
        return trial.violation or 0.0, self.cost(trial), trial.number

    @property
    def sign(self) -> float:
        """-1 where high values are good, else 1: a value times it is a cost."""
        return -1.0 if self.mode == "max" else 1.0

    def cost(self, trial: Trial) -> float:
        """A trial's value such that low is good; infinite without a value."""
        return self.sign * trial.value if trial.value is not None else float("inf")

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The best completed trial of the search, or the baseline where nothing else completed."""
        return min(list_challengers(trials), key=self.key, default=find_baseline(trials))

    def find_control(self, trials: Sequence[Trial]) -> Trial | None:
        """The configuration without regularisers that effects are measured from.

        The best of the trials that tuned other parameters and of the baseline, each at the epoch
        that early stopping keeps. Its ``role`` and ``number`` are those of its training.
        """
        baseline = find_baseline(trials)
        tuned = [t for t in trials if t.role is Role.CONTROL and t.state is TrialState.COMPLETE]
        own = [] if baseline is None else [view_control(baseline, self.metric)]
        return min([*own, *tuned], key=lambda t: (self.cost(t), t.number), default=None)


def view_control(trial: Trial, metric: str) -> Trial:
    """A training without regularisation, judged at the epoch that early stopping keeps."""
    if metric not in trial.control:
        return trial
    marked = {k: v for k, v in trial.errors.items() if k.startswith(CONTROL_PREFIX)}
    errors = {k.removeprefix(CONTROL_PREFIX): v for k, v in marked.items()}
    value = trial.control[metric]
    folds = tuple(
        {k.removeprefix(CONTROL_PREFIX): v for k, v in fold.items() if k.startswith(CONTROL_PREFIX)}
        for fold in trial.folds
    )
    return replace(
        trial,
        folds=folds,
        best=trial.control,
        value=value,
        control={},
        errors=errors,
        anatomy=trial.control_anatomy,
        control_anatomy=None,
    )


@dataclass(frozen=True)
class Shortlist:
    """Which trials of a search may become its pick: the ``top_k`` best.

    With ``sparser`` they are twice as many, each with more zeros than all better ones, if the
    search has any such: a sparser one may be as good by one standard error.
    """

    ranking: Ranking
    top_k: int = 1
    sparser: bool = False

    @classmethod
    def of(cls, spec: SweepSpec) -> Shortlist:
        """What a spec confirms; without a confirmation the best alone."""
        confirm = spec.confirm
        if confirm is None:
            return cls(Ranking.of(spec))
        return cls(Ranking.of(spec), confirm.top_k, confirm.pick == "simplest")

    @property
    def most(self) -> int:
        """The largest number of trials on it."""
        return 2 * self.top_k if self.sparser else self.top_k

    def select(self, trials: Iterable[Trial]) -> tuple[Trial, ...]:
        """The trials on it among completed ones, best first."""
        ranked = sorted(trials, key=self.ranking.key)
        front = self._find_front(ranked)
        return tuple(front[: self.most]) if len(front) > 1 else tuple(ranked[: self.top_k])

    def keep(self, trials: Iterable[Trial]) -> tuple[Trial, ...]:
        """Those that may be on it when more trials have completed."""
        ranked = sorted(trials, key=self.ranking.key)
        wanted = {t.number for t in (*ranked[: self.top_k], *self._find_front(ranked))}
        return tuple(t for t in ranked if t.number in wanted)

    def _find_front(self, ranked: Sequence[Trial]) -> list[Trial]:
        """Trials that are sparser than all better ones, best first; empty if that is not asked."""
        front: list[Trial] = []
        for trial in ranked if self.sparser else ():
            if not front or measure_sparsity(trial) > measure_sparsity(front[-1]):
                front.append(trial)
        return front


def measure_sparsity(trial: Trial) -> float:
    """The share of penalised weights that are 0, at the kept weights."""
    return trial.best.get("sparsity", 0.0)


def list_challengers(trials: Iterable[Trial]) -> list[Trial]:
    """The completed trials that may regularise: the search's, and pruned ones that were audited."""
    return [t for t in trials if t.state is TrialState.COMPLETE and t.role in _CHALLENGERS]


def find_baseline(trials: Iterable[Trial]) -> Trial | None:
    """The completed trial without regularisation, if there is one."""
    complete = (t for t in trials if t.state is TrialState.COMPLETE)
    return next((t for t in complete if t.role is Role.BASELINE), None)


def select_searched(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Every trial of the search, the baseline included; no replicate and no audit."""
    return tuple(t for t in trials if t.confirms is None)
