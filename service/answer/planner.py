"""What to train after a search: finalists, then the pick against the control, then its parts.

The order is fixed before any test sample is looked at: five replicates of every finalist and of
the control; the pick by validation samples; where other parameters were searched, the pick's own
without regularisers, and the better of both controls by validation samples; looks at the pick
against the control at 5, 8, 12 and 20 replicates until it is decided; where it helps, the pick
without each of its parts; where no removal matters, each part alone. Parts that acted in no
replicate of the pick are not removed: those trainings would be the same.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.values import Value
from service.answer.arms import (
    EVERYTHING,
    Arm,
    Race,
    TestScores,
    list_acting_parts,
    list_arm_parts,
    take_away,
)
from service.answer.effects import (
    PartJudgement,
    Table,
    judge_parts,
    pair_replicates,
)
from service.answer.interim_looks import Decision, Look, Spending, decide, spend
from service.spec.sections import LOOKS
from service.study.confirmation import ReplicateRun
from service.study.records import Role, Trial
from service.study.study import SweepStudy
from service.sweep.answer import PartState
from trainables.config.trial_parameters import EARLY_STOPPING, remove_parts

if TYPE_CHECKING:
    from service.spec.model import SweepSpec

FIRST = LOOKS[0]


@dataclass(frozen=True, kw_only=True)
class Want:
    """An arm that is to have so many replicates."""

    arm: Arm
    count: int
    role: Role = Role.REPLICATE
    redraws_test: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How far a confirmation is: its pick, its last look, what was found of the parts.

    ``never_acted`` are parts of the pick without effect in all replicates that were looked at.

    ``wants`` is what it needs next, empty at the end; ``unpaid`` marks an end for want of
    trainings.
    """

    race: Race
    pick: Arm | None = None
    look: Look | None = None
    parts: dict[str, PartJudgement] | None = None
    parts_replicates: int = 0
    never_acted: tuple[str, ...] = ()
    alone: dict[str, PartJudgement] | None = None
    wants: tuple[Want, ...] = ()
    unpaid: bool = False


class Planner:
    """Plans the trainings after a search, see :class:`service.study.confirmation.Confirmation`.

    Every look at test samples is stored in the ``study`` before anything follows from it.
    """

    def __init__(self, spec: SweepSpec, scores: TestScores, study: SweepStudy) -> None:
        assert spec.confirm is not None
        self.spec, self.scores = spec, scores
        self._confirm, self._study = spec.confirm, study

    @property
    def trainings(self) -> int:
        """The largest number of trainings, over all extensions of the sweep.

        A search that ended before its budget leaves what it did not use.
        """
        found = self._study.attributes
        return found.trainings_before_extension + self._confirm.total_trainings + found.unused

    def next_runs(self, trials: Sequence[Trial]) -> Sequence[ReplicateRun]:
        """The trainings to add to these trials; empty when there is nothing left to find out."""
        stage = self.read(trials)
        return () if stage is None else tuple(self._list_runs(stage))

    def read(self, trials: Sequence[Trial]) -> Stage | None:
        """The stage of the confirmation; None without finalists or a control."""
        race = Race.read(self.spec, trials)
        if race is None:
            return None
        used = sum(t.replicate > 0 for t in trials)
        return self._check_budget(self._advance(race), self.trainings - used)

    def _check_budget(self, stage: Stage, left: int) -> Stage:
        missing = sum(1 for _ in self._list_runs(stage))
        if missing <= left - self._count_reserved(stage):
            return stage
        return replace(stage, wants=(), unpaid=True)

    def _count_reserved(self, stage: Stage) -> int:
        """Trainings that are kept for the sensitivity check."""
        redraws = any(w.redraws_test for w in stage.wants)
        return 0 if redraws else 2 * self._confirm.sensitivity

    def _list_runs(self, stage: Stage) -> Iterator[ReplicateRun]:
        """What is missing of the stage's wants, one replicate of all arms after the other."""
        race, seed = stage.race, self.spec.training.seed
        for replicate in range(1, max((w.count for w in stage.wants), default=0) + 1):
            for want in stage.wants:
                done = race.redrawn if want.redraws_test else race.replicates
                if replicate > want.count or replicate in done.get(want.arm, {}):
                    continue
                trial = race.find_trial(want.arm)
                yield ReplicateRun(
                    confirms=trial.number,
                    params=self._configure(trial, want.arm),
                    role=want.role,
                    seed=seed + replicate,
                    replicate=replicate,
                    baseline=race.is_control(want.arm),
                    without=want.arm.without,
                    redraws_test=want.redraws_test,
                )

    def _configure(self, trial: Trial, arm: Arm) -> dict[str, Value]:
        """The parameters of an arm; those of a control are neutral, but for the tuned ones."""
        if not arm.keeps_nothing:
            return remove_parts(trial.params, arm.without, self.spec.neutral)
        tuned = {k: v for k, v in trial.params.items() if self.spec.tunes(k)}
        return {**self.spec.neutral_point(), **tuned}

    def _advance(self, race: Race) -> Stage:
        arms = (race.control_arm, *(Arm(t.number) for t in race.finalists))
        wants = tuple(Want(arm=arm, count=FIRST) for arm in arms)
        if not _have(race, wants):
            return Stage(race=race, wants=wants)
        pick, reductions = self._choose(race)
        if reductions:
            return Stage(race=race, pick=pick, wants=reductions)
        if self.spec.controls:
            own = Arm(pick.trial, (EVERYTHING,))
            wants = (Want(arm=own, count=FIRST),)
            if not _have(race, wants):
                return Stage(race=race, pick=pick, wants=wants)
            stronger = min(race.control_arm, own, key=lambda arm: _rank(race, arm))
            race = replace(race, reference=stronger)
        stage = Stage(race=race, pick=pick)
        if not any(race.view(arm, 1 + r) for arm in (pick, race.control_arm) for r in range(FIRST)):
            return stage  # all of them failed
        for count in self._looks:
            wants = (Want(arm=race.control_arm, count=count), _want(pick, count))
            if not _have(race, wants):
                return replace(stage, wants=wants)
            stage = replace(stage, look=self._look(race, pick, count))
            assert stage.look is not None
            if stage.look.decision is Decision.HELPS:
                return self._take_apart(stage, pick, count)
            if stage.look.decision is not Decision.CONTINUE:
                break
        return self._redraw(stage, pick)

    @property
    def _looks(self) -> tuple[int, ...]:
        return tuple(n for n in LOOKS if n <= self._confirm.replicates)

    def _look(self, race: Race, pick: Arm, count: int) -> Look:
        """Compare the pick with the control; the look is stored before it is used."""
        spent = [Spending(**look) for look in self._study.attributes.looks]
        family = f"{race.family}; pick {pick.trial} without {', '.join(pick.without) or 'nothing'}"
        spending = spend(spent, family, count)
        if spending not in spent:
            looks = [asdict(look) for look in (*spent, spending)]
            self._study.store(replace(self._study.attributes, looks=looks))
        return decide(
            self._differ(race, pick, race.control_arm, count),
            alpha=spending.alpha,
            min_effect=self.find_min_effect(race),
            last=count == self._looks[-1],
        )

    def _differ(self, race: Race, arm: Arm, reference: Arm, count: int) -> Table:
        """Costs of an arm minus those of a reference; both are equal where all of both failed."""
        ours, theirs = (self.scores.table(race, a, count) for a in (arm, reference))
        if all(row is None for row in (*ours, *theirs)):
            return np.zeros((count, 1))
        return pair_replicates(ours, theirs)

    def find_min_effect(self, race: Race) -> float:
        """The smallest effect that matters, in the unit of the objective."""
        control = self.scores.table(race, race.control_arm, FIRST)
        return self._find_smallest([float(row.mean()) for row in control if row is not None])

    def _find_smallest(self, control: Sequence[float]) -> float:
        """The smallest effect that matters, by the control's values on some samples."""
        if self._confirm.min_effect is not None:
            return self._confirm.min_effect
        if self.scores.sign < 0:
            return 0.005
        return 0.02 * fmean(map(abs, control)) if control else 0.0

    def _choose(self, race: Race) -> tuple[Arm, tuple[Want, ...]]:
        """The pick by validation samples, and the reductions to train before it can be chosen."""
        finalists = [Arm(t.number) for t in race.finalists]
        best = min(finalists, key=lambda arm: _rank(race, arm))
        if self._confirm.pick == "best":
            return best, ()
        simplest = self._simplest(race, [best, *finalists], best)
        while True:
            parts = list_acting_parts(self.spec, race, simplest, FIRST)
            reductions = [take_away(simplest, p) for p in parts]
            wants = tuple(Want(arm=arm, count=FIRST, role=Role.REMOVAL) for arm in reductions)
            if not _have(race, wants):
                affordable = self._affords(race, wants)
                return simplest, wants if affordable else ()
            found = self._simplest(race, [simplest, *reductions], best)
            if found == simplest:
                return simplest, ()
            simplest = found

    def _affords(self, race: Race, wants: Sequence[Want]) -> bool:
        """Whether reductions leave enough trainings for the last look."""
        used = sum(len(runs) for runs in race.replicates.values())
        last = 2 * (self._looks[-1] - FIRST)
        reserved = 2 * self._confirm.sensitivity
        return used + sum(w.count for w in wants) + last <= self.trainings - reserved

    def _simplest(self, race: Race, arms: Sequence[Arm], best: Arm) -> Arm:
        """The arm with the fewest parts, then the most zeros, of those as good as the best.

        As good is what costs at most one paired standard error more, or at most the smallest
        effect that matters, by validation samples.
        """
        control = [c for c in race.list_costs(race.control_arm, FIRST) if math.isfinite(c)]
        ignored = self._find_smallest(control)
        within = [arm for arm in arms if _is_as_good(race, arm, best, ignored)]
        return min(
            within or [best],
            key=lambda arm: (
                len(list_acting_parts(self.spec, race, arm, FIRST)),
                -race.measure_sparsity(arm),
                _rank(race, arm),
            ),
        )

    def _take_apart(self, stage: Stage, pick: Arm, looked: int) -> Stage:
        race = stage.race
        whole = list_arm_parts(self.spec, race, pick)
        parts = list_acting_parts(self.spec, race, pick, looked)
        stage = replace(stage, never_acted=tuple(p for p in whole if p not in parts))
        removals = {part: take_away(pick, part) for part in parts}
        singles = _keep_one(pick, whole, parts)
        own = {*removals.values(), *singles.values()} - {pick}
        left = self._count_left(race, pick, looked, own)
        count = _afford_parts(left - FIRST * len(singles), len(parts), looked)
        count = count or _afford_parts(left, len(parts), looked)
        if not count:
            return replace(self._redraw(stage, pick), unpaid=bool(parts))
        wants = (_want(pick, count), *_want_removals(removals.values(), count))
        if not _have(race, wants):
            return replace(stage, wants=wants)
        judged = judge_parts(
            {p: self._differ(race, arm, pick, count) for p, arm in removals.items()},
            min_effect=self.find_min_effect(race),
        )
        stage = replace(stage, parts=dict(judged), parts_replicates=count)
        if len(singles) < 2 or any(j.state is PartState.ACTS for j in judged.values()):
            return self._redraw(stage, pick)
        left -= max(0, count - looked) + count * len(parts)
        affordable = max((n for n in LOOKS if n * len(singles) <= left), default=0)
        return self._try_alone(stage, pick, singles, min(count, affordable))

    def _try_alone(self, stage: Stage, pick: Arm, singles: Mapping[str, Arm], count: int) -> Stage:
        """Train the pick with one part each, where no removal matters."""
        race = stage.race
        if count < FIRST:
            return replace(self._redraw(stage, pick), unpaid=True)
        wants = tuple(_want_removals(singles.values(), count))
        if not _have(race, wants):
            return replace(stage, wants=wants)
        judged = judge_parts(
            {p: self._differ(race, race.control_arm, arm, count) for p, arm in singles.items()},
            min_effect=self.find_min_effect(race),
        )
        return self._redraw(replace(stage, alone=dict(judged)), pick)

    def _count_left(self, race: Race, pick: Arm, looked: int, own: Collection[Arm]) -> int:
        """The trainings that are left for parts, whatever of their own arms ``own`` was trained."""
        before = sum(len(runs) for arm, runs in race.replicates.items() if arm not in own)
        extra = max(0, len(race.replicates.get(pick, {})) - looked)
        return self.trainings - 2 * self._confirm.sensitivity - before + extra

    def _redraw(self, stage: Stage, pick: Arm) -> Stage:
        """The sensitivity check, after everything is decided."""
        count = self._confirm.sensitivity
        arms = (stage.race.control_arm, pick)
        done = (len(stage.race.redrawn.get(arm, {})) for arm in arms)
        if not count or min(done) >= count:
            return stage
        return replace(
            stage, wants=tuple(Want(arm=arm, count=count, redraws_test=True) for arm in arms)
        )


def _have(race: Race, wants: Iterable[Want]) -> bool:
    return all(race.count(w.arm) >= w.count for w in wants)


def _want(arm: Arm, count: int) -> Want:
    role = Role.REMOVAL if arm.without else Role.REPLICATE
    return Want(arm=arm, count=count, role=role)


def _want_removals(arms: Iterable[Arm], count: int) -> Iterator[Want]:
    return (Want(arm=arm, count=count, role=Role.REMOVAL) for arm in arms)


def _keep_one(pick: Arm, parts: Sequence[str], acting: Sequence[str]) -> dict[str, Arm]:
    """The pick with each acting part alone, by the part; early stopping alone is the control."""
    kept = [part for part in acting if part != EARLY_STOPPING]
    return {p: take_away(pick, *(q for q in parts if q != p)) for p in kept}


def _rank(race: Race, arm: Arm) -> tuple[bool, float, int]:
    """Feasible arms first, then the mean cost on validation samples; a failure is infinite."""
    return not race.is_feasible(arm, FIRST), fmean(race.list_costs(arm, FIRST)), arm.trial


def _is_as_good(race: Race, arm: Arm, best: Arm, ignored: float) -> bool:
    pairs = zip(race.list_costs(arm, FIRST), race.list_costs(best, FIRST), strict=True)
    differences = [ours - theirs for ours, theirs in pairs]
    if not all(math.isfinite(d) for d in differences) or not race.is_feasible(arm, FIRST):
        return False
    error = stdev(differences) / math.sqrt(len(differences))
    return bool(fmean(differences) <= max(error, ignored))


def _afford_parts(left: int, parts: int, looked: int) -> int:
    """The largest number of replicates, of those of a look, that the trainings pay; 0 for none."""
    payable = [n for n in LOOKS if max(0, n - looked) + n * parts <= left]
    return max(payable, default=0)
