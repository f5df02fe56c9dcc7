"""An audit of the pruner: some pruned trials are trained to their end, to see what was missed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.values import Value
from service.answer.strong_trials import find_strong
from service.study.confirmation import Confirmation, ReplicateRun
from service.study.ranking import Ranking, select_searched
from service.study.records import OUT_OF_BUDGET, Role, Trial, TrialState
from service.sweep.answer import Audit, Audited, AuditGroup

if TYPE_CHECKING:
    from service.spec.model import SweepSpec
    from service.study.study import SweepStudy

_CHOICE = 20_181
"""Keeps the choice of trials apart from other random numbers of the same seed."""
LEVEL = 0.95
_SEARCHED = (Role.SEARCH, Role.ENQUEUED)


class Auditor:
    """Chooses pruned trials at random, half of them strongly regularised, and has them trained.

    They are trained as in the search, with the same seed on the same samples, but are not pruned.
    See :class:`service.study.confirmation.Confirmation`.
    """

    def __init__(self, spec: SweepSpec, study: SweepStudy) -> None:
        assert spec.audit is not None
        self._trials, self._seed = spec.audit.trials, spec.search.seed
        self._neutral, self._study = spec.neutral, study

    @property
    def trainings(self) -> int:
        """The largest number of trainings, over all extensions of the sweep."""
        return self._study.attributes.audits_before_extension + self._trials

    def next_runs(self, trials: Sequence[Trial]) -> Sequence[ReplicateRun]:
        """The trainings to add to these trials; empty when enough pruned ones were chosen."""
        chosen = {t.confirms for t in trials if t.role is Role.AUDIT}
        left = [t for t in list_pruned(trials) if t.number not in chosen]
        count = min(self.trainings - len(chosen), len(left))
        if count <= 0:
            return ()
        strong = find_strong(_list_searched(trials), self._neutral)
        numbers = self._choose([t.number for t in left], strong, count, len(chosen))
        return tuple(_repeat(t) for t in left if t.number in numbers)

    def _choose(
        self, numbers: Sequence[int], strong: Collection[int], count: int, before: int
    ) -> Collection[int]:
        random = np.random.default_rng([self._seed, _CHOICE, before])
        groups = [[n for n in numbers if (n in strong) is side] for side in (True, False)]
        half = min(len(groups[0]), max(count // 2, count - len(groups[1])))
        counts = (half, count - half)
        return {
            int(n)
            for group, size in zip(groups, counts, strict=True)
            for n in random.permutation(np.asarray(group, dtype=np.int64))[:size]
        }


def _repeat(trial: Trial) -> ReplicateRun:
    return ReplicateRun(
        confirms=trial.number, params=trial.params, role=Role.AUDIT, seed=trial.seed, replicate=0
    )


class AfterSearch:
    """What follows a search: the audit of its pruner, then the confirmation, if there is one."""

    def __init__(self, auditor: Auditor, confirmation: Confirmation | None) -> None:
        self._steps = [s for s in (auditor, confirmation) if s is not None]

    @property
    def trainings(self) -> int:
        """The largest number of trainings of both."""
        return sum(step.trainings for step in self._steps)

    def next_runs(self, trials: Sequence[Trial]) -> Sequence[ReplicateRun]:
        """Those of the first that needs any."""
        return next((runs for step in self._steps if (runs := step.next_runs(trials))), ())


def list_pruned(trials: Sequence[Trial]) -> list[Trial]:
    """The trials of the search that its pruner ended; not those that the budget did."""
    return [
        t
        for t in _list_searched(trials)
        if t.state is TrialState.PRUNED and t.reason != OUT_OF_BUDGET
    ]


def _list_searched(trials: Sequence[Trial]) -> list[Trial]:
    return [t for t in trials if t.role in _SEARCHED]


def measure_audit(
    ranking: Ranking, trials: Sequence[Trial], neutral: Mapping[str, Value]
) -> Audit | None:
    """What the audited trials say of all pruned ones; None where the search completed nothing."""
    best = ranking.best(select_searched(trials))
    if best is None:
        return None
    searched, pruned = _list_searched(trials), list_pruned(trials)
    strong = find_strong(searched, neutral)
    audits = {t.confirms: t for t in trials if t.role is Role.AUDIT and _has_ended(t)}
    sides = [[t for t in pruned if (t.number in strong) is side] for side in (True, False)]
    groups = [_measure_group(ranking, best, side, audits, 1 - LEVEL) for side in sides]
    return Audit(
        metric=ranking.metric,
        best=best.number,
        overall=_join(ranking, best, sides, audits),
        strong=groups[0],
        weak=groups[1],
        better=tuple(_list_better(ranking, best, pruned, audits)),
    )


def _has_ended(trial: Trial) -> bool:
    """Whether it came to an end of its own; the budget may have ended it before."""
    return trial.state in (TrialState.COMPLETE, TrialState.FAILED)


def _list_better(
    ranking: Ranking, best: Trial, pruned: Sequence[Trial], audits: Mapping[int | None, Trial]
) -> Iterator[Audited]:
    for trial in pruned:
        found = audits.get(trial.number)
        if found is not None and found.value is not None and _is_better(ranking, found, best):
            yield Audited(pruned=trial.number, trial=found.number, value=found.value)


def _is_better(ranking: Ranking, trial: Trial, best: Trial) -> bool:
    return trial.state is TrialState.COMPLETE and ranking.key(trial)[:2] < ranking.key(best)[:2]


def _measure_group(
    ranking: Ranking,
    best: Trial,
    pruned: Sequence[Trial],
    audits: Mapping[int | None, Trial],
    alpha: float,
) -> AuditGroup:
    found = [audits[t.number] for t in pruned if t.number in audits]
    better = [t for t in found if _is_better(ranking, t, best)]
    gains = [max(0.0, ranking.cost(best) - ranking.cost(t)) for t in better]
    low, high = bound_count(len(pruned), len(found), len(better), alpha)
    return AuditGroup(
        pruned=len(pruned),
        audited=len(found),
        failed=sum(t.state is TrialState.FAILED for t in found),
        better=len(better),
        share=len(better) / len(found) if found else None,
        interval=(low / len(pruned), high / len(pruned)) if pruned else None,
        regret=max(gains, default=0.0) if found else None,
    )


def _join(
    ranking: Ranking,
    best: Trial,
    sides: Sequence[Sequence[Trial]],
    audits: Mapping[int | None, Trial],
) -> AuditGroup:
    """All pruned trials: both groups by their sizes, since they were not audited in proportion.

    Each interval is at half the error rate, so that their sum covers at the whole one.
    """
    groups = [_measure_group(ranking, best, s, audits, (1 - LEVEL) / 2) for s in sides if s]
    total = sum(g.pruned for g in groups)
    shares = [g.share * g.pruned for g in groups if g.share is not None]
    bounds = [(g.interval[0] * g.pruned, g.interval[1] * g.pruned) for g in groups if g.interval]
    regrets = [g.regret for g in groups if g.regret is not None]
    return AuditGroup(
        pruned=total,
        audited=sum(g.audited for g in groups),
        failed=sum(g.failed for g in groups),
        better=sum(g.better for g in groups),
        share=sum(shares) / total if total and len(shares) == len(groups) else None,
        interval=(sum(b[0] for b in bounds) / total, sum(b[1] for b in bounds) / total)
        if total
        else None,
        regret=max(regrets, default=None),
    )


def bound_count(size: int, drawn: int, hits: int, alpha: float) -> tuple[int, int]:
    """The numbers of hits among ``size`` that ``drawn`` without replacement do not contradict.

    Exact, by the hypergeometric distribution, two-sided: with all of them drawn both bounds are
    ``hits``. The counterpart of Clopper and Pearson's interval for a finite population.
    """

    def is_likely(total: int) -> bool:
        chances = [_count_ways(size, drawn, total, k) for k in range(drawn + 1)]
        every = sum(chances)
        at_most, at_least = sum(chances[: hits + 1]), sum(chances[hits:])
        return min(at_most, at_least) / every > alpha / 2

    possible = [n for n in range(hits, size - (drawn - hits) + 1) if is_likely(n)]
    return min(possible, default=hits), max(possible, default=hits)


def _count_ways(size: int, drawn: int, total: int, hits: int) -> int:
    misses = drawn - hits
    if hits > total or misses > size - total:
        return 0
    return math.comb(total, hits) * math.comb(size - total, misses)
