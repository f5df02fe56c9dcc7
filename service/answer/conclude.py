"""Turns the stage of a confirmation into the answer of a sweep."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from service.answer import effects
from service.answer.arms import Arm, Race, TestScores
from service.answer.effects import PartJudgement, estimate, pair_replicates
from service.answer.interim_looks import Decision, Limit, replicates_needed
from service.answer.planner import FIRST, Planner, Stage
from service.answer.unconfirmed import leave_unconfirmed
from service.study.ranking import Ranking, list_challengers
from service.study.records import GAP_REPORTED, Metrics, Trial, TrialState
from service.sweep import answer as data
from service.sweep.answer import Answer, Claim, Mean, Measured, PartState

if TYPE_CHECKING:
    from service.spec.model import SweepSpec

LEVEL = 0.95
_CLAIMS = {
    Decision.HELPS: Claim.HELPS,
    Decision.NOT_SHOWN: Claim.NOT_SHOWN,
    Decision.CONTINUE: Claim.UNDECIDED,
    Decision.UNDECIDED: Claim.UNDECIDED,
}
BASELINE, CONTROL, PICK = "baseline", "control", "pick"


def conclude(
    planner: Planner,
    trials: Sequence[Trial],
    *,
    on: data.Division,
    measure_error: Callable[[], float | None] = lambda: None,
) -> Answer:
    """The answer of a sweep with confirmation, of one that was cut short as well.

    ``on`` is what its replicates differ by. ``measure_error`` gives the standard error that
    :func:`leave_unconfirmed` takes.
    """
    spec, scores, stage = planner.spec, planner.scores, planner.read(trials)
    if stage is None:
        return leave_unconfirmed(
            Ranking.of(spec), trials, None, "no finalist or no control has completed"
        )
    race = stage.race
    if stage.pick is None or stage.look is None:
        failed = stage.pick is not None and not stage.wants and not stage.unpaid
        few = f"finalists and control have fewer than {FIRST} replicates"
        reason = "every replicate of pick and control failed" if failed else few
        found = leave_unconfirmed(race.ranking, trials, measure_error(), reason)
        return found.model_copy(update={"arms": tuple(_list_arms(stage))})
    look, count = stage.look, stage.look.effect.replicates
    claim = _CLAIMS[look.decision]
    min_effect = planner.find_min_effect(race)
    needed = None
    if claim is Claim.UNDECIDED:
        needed = replicates_needed(look.effect, alpha=look.alpha, min_effect=min_effect)
    excluded = look.excluded_above if claim is Claim.NOT_SHOWN else None
    return Answer(
        claim=claim,
        metric=scores.name_metric(race),
        mode="max" if scores.sign < 0 else "min",
        pick=stage.pick.trial,
        without=stage.pick.without,
        control=race.control.number,
        effect=scores.sign * look.effect.mean,
        interval=_orient(look.interval, scores.sign),
        level=1 - 2 * look.alpha,
        p=look.p,
        replicates=count,
        test_rows=look.effect.rows,
        on=on,
        feasible=race.is_feasible(stage.pick, count),
        min_effect=min_effect,
        excluded_above=excluded,
        early_stopping=_measure_stopping(spec, race, scores, count),
        parts=tuple(_list_parts(stage, scores.sign)),
        parts_replicates=stage.parts_replicates,
        replicates_needed=None if needed is None else needed.more_replicates,
        limit=find_limit(
            None if needed is None else needed.limit, look.effect.rows, unpaid=stage.unpaid
        ),
        sensitivity=_measure_redrawn(stage, scores),
        arms=tuple(_list_arms(stage)),
        compared=len(list_challengers(trials)),
    )


def find_limit(limit: Limit | None, rows: int, *, unpaid: bool) -> data.LimitName | None:
    """What limits the evidence; replicates that are known by their means have one row each."""
    if limit is Limit.ROWS and rows > 1:
        return "test_rows"
    if unpaid:
        return "trainings"
    return None if limit is None else "replicates"


def _measure_stopping(
    spec: SweepSpec, race: Race, scores: TestScores, count: int
) -> Measured | None:
    """The control minus the baseline, over the same trainings."""
    if spec.early_stopping is None:
        return None
    control = scores.table(race, race.control_arm, count)
    return _measure(control, scores.baseline(race, count), scores.sign)


def _measure_redrawn(stage: Stage, scores: TestScores) -> Measured | None:
    race, pick = stage.race, stage.pick
    if pick is None:
        return None
    count = min(len(race.redrawn.get(arm, {})) for arm in (race.control_arm, pick))
    if count < 2:
        return None
    ours, theirs = (
        scores.table(race, arm, count, redrawn=True) for arm in (pick, race.control_arm)
    )
    return _measure(ours, theirs, scores.sign)


def _measure(
    arm: Sequence[effects.Table | None], reference: Sequence[effects.Table | None], sign: float
) -> Measured | None:
    try:
        effect = estimate(pair_replicates(arm, reference))
    except ValueError:  # no replicate finished
        return None
    interval = effect.interval(LEVEL) if effect.se else (effect.mean, effect.mean)
    return Measured(effect=sign * effect.mean, interval=_orient(interval, sign))


def _list_parts(stage: Stage, sign: float) -> Iterator[data.Part]:
    """Each part's effect: the pick minus the pick without it."""
    for name, judged in (stage.parts or {}).items():
        removal = judged.removal
        yield data.Part(
            name=name,
            state=judged.state,
            effect=-sign * removal.effect.mean,
            interval=_orient(removal.interval, -sign),
            suffices=_acts(stage.alone, name),
        )
    if stage.parts is not None:
        for name in stage.never_acted:
            yield data.Part(name=name, state=data.PartState.NEVER_ACTED)


def _acts(judged: Mapping[str, PartJudgement] | None, name: str) -> bool:
    found = None if judged is None else judged.get(name)
    return found is not None and found.state is PartState.ACTS


def _orient(interval: tuple[float, float], sign: float) -> data.Bounds | None:
    low, high = sorted(sign * bound for bound in interval)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _list_arms(stage: Stage) -> Iterator[data.Arm]:
    race = stage.race
    yield _describe_arm(race, BASELINE, race.control_arm, at_control=False)
    yield _describe_arm(race, CONTROL, race.control_arm, at_control=True)
    for arm in sorted(race.replicates, key=lambda a: (a != stage.pick, len(a.without), a.trial)):
        if arm == race.control_arm or (race.reference and race.is_control(arm)):
            continue
        name = PICK if arm == stage.pick else _name(arm, stage.pick)
        yield _describe_arm(race, name, arm, at_control=False)


def _name(arm: Arm, pick: Arm | None) -> str:
    if not arm.without:
        return f"trial {arm.trial}"
    whole = "pick" if pick is not None and arm.trial == pick.trial else f"trial {arm.trial}"
    return f"{whole} without {', '.join(arm.without)}"


def _describe_arm(race: Race, name: str, arm: Arm, *, at_control: bool) -> data.Arm:
    runs = race.replicates.get(arm, {})
    complete = [t for t in runs.values() if t.state is TrialState.COMPLETE]
    metrics: list[Metrics] = [t.control if at_control and t.control else t.best for t in complete]
    names = dict.fromkeys(n for m in metrics for n in m if n.partition("/")[0] in _SIDES)
    return data.Arm(
        name=name,
        trial=arm.trial,
        without=arm.without,
        replicates=len(complete),
        failed=len(runs) - len(complete),
        metrics={n: average([m[n] for m in metrics if n in m]) for n in names},
    )


_SIDES = ("train", "val", "test", "gap", "test_gap", "train_reported", GAP_REPORTED)


def average(values: Sequence[float]) -> Mean:
    """The mean of replicates and half of its 95 % interval, t·s/√n."""
    if len(values) < 2:
        return Mean(mean=fmean(values))
    from scipy.special import stdtrit  # half a second that no trial needs

    t = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2))
    return Mean(mean=fmean(values), half=t * stdev(values) / len(values) ** 0.5)
