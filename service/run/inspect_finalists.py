"""Gathers what the networks of baseline, control and pick are like beside their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from service.answer.conclude import average
from service.run.finalists import build_finalist, read_weights
from service.spec.model import SweepSpec
from service.study.records import Role, Trial, TrialState
from service.sweep.answer import Mean
from service.sweep.home import SweepFolder
from service.sweep.inspected_files import BEST, CONTROL, read_inspected
from service.sweep.inspection import (
    ArmRobustness,
    ColumnShare,
    CorruptionCurve,
    InputColumns,
    Inspection,
    LevelScores,
    RobustnessSummary,
)
from service.sweep.sweep_record import Sweep
from trainables.analysis.inspect_network import inspect_weights
from trainables.config.inspection import Inspected
from trainables.config.robustness import Curve, Robustness
from trainables.data.splits import Splits

BASELINE, PICK = "baseline", "pick"
MOST_COLUMNS = 10_000
"""Columns that are stored: a summary is read by servers, which read small files only."""
_ARMS = (BASELINE, CONTROL, PICK)
Found = Mapping[str, Sequence[Inspected]]
"""What was found of each arm, one of each training."""


def inspect_finalists(
    spec: SweepSpec, splits: Splits, folder: SweepFolder, sweep: Sweep, *, redraws: bool
) -> Inspection:
    """What is found over the replicates, or of the search's own trainings where there are none.

    ``redraws`` says whether replicates have divisions of their own.
    """
    found = {arm: tuple(_read_replicates(folder, sweep, arm)) for arm in _ARMS}
    if not found[PICK]:
        found = dict(_measure_search(spec, splits, folder, sweep))
    columns = _count_columns(found.get(PICK, ()), one_division=not redraws)
    if columns is not None and columns.trainings > 1:
        columns = columns.model_copy(update={"ended_early": _count_ended_early(spec, sweep)})
    return Inspection(robustness=_summarise_robustness(found), columns=columns)


def _read_replicates(folder: SweepFolder, sweep: Sweep, name: str) -> Iterator[Inspected]:
    for trial in _list_replicates(sweep, name):
        kept = read_inspected(folder, trial.number)
        wanted = kept.get(CONTROL) if name == CONTROL else None
        found = wanted or kept.get(BEST)
        if found is not None:
            yield found


def _list_replicates(sweep: Sweep, name: str) -> Iterator[Trial]:
    """The complete trainings of an arm that its inspection counts."""
    arm = None if sweep.answer is None else sweep.answer.find_arm(name)
    if arm is None:
        return
    for trial in sweep.trials:
        is_of_arm = (trial.confirms, trial.without) == (arm.trial, arm.without)
        if is_of_arm and not trial.redraws_test and trial.state is TrialState.COMPLETE:
            yield trial


def _count_ended_early(spec: SweepSpec, sweep: Sweep) -> int:
    """How many trainings of the pick early stopping has ended."""
    if spec.early_stopping is None:
        return 0
    ends = [trial.stopped_epoch for trial in _list_replicates(sweep, PICK)]
    return sum(end is not None and end < spec.training.max_epochs for end in ends)


def _measure_search(
    spec: SweepSpec, splits: Splits, folder: SweepFolder, sweep: Sweep
) -> Iterator[tuple[str, tuple[Inspected, ...]]]:
    for arm, trial in zip(_ARMS, (sweep.baseline, sweep.control, sweep.best), strict=True):
        if trial is None or (arm == PICK and trial.role is Role.BASELINE):
            continue
        marked = folder.control_weights(trial.number)
        path = marked if arm == CONTROL and marked.exists() else folder.best_weights(trial.number)
        if path.exists():
            run = build_finalist(spec, trial, splits)
            yield arm, (inspect_weights(run, splits, read_weights(path)),)


def _summarise_robustness(found: Found) -> RobustnessSummary:
    measured = {arm: [i.robustness for i in each] for arm, each in found.items()}
    every = [r for each in measured.values() for r in each]
    reasons = dict.fromkeys(r.reason for r in every if r.reason)
    return RobustnessSummary(
        rows=max((r.rows for r in every), default=0),
        arms=tuple(_describe_arm(arm, each) for arm, each in measured.items() if each),
        reason="; ".join(reasons),
    )


def _describe_arm(arm: str, measured: Sequence[Robustness]) -> ArmRobustness:
    curves: dict[str, list[Curve]] = {}
    for curve in (c for r in measured for c in r.curves):
        curves.setdefault(curve.corruption, []).append(curve)
    return ArmRobustness(
        arm=arm,
        trainings=len(measured),
        clean=_average([r.clean for r in measured]),
        curves=tuple(_join(each) for each in curves.values()),
    )


def _join(curves: Sequence[Curve]) -> CorruptionCurve:
    scores: dict[float, list[Mapping[str, float]]] = {}
    for level in (level for curve in curves for level in curve.levels):
        scores.setdefault(level.level, []).append(level.scores)
    return CorruptionCurve(
        corruption=curves[0].corruption,
        unit=curves[0].unit,
        levels=tuple(LevelScores(level=x, scores=_average(y)) for x, y in sorted(scores.items())),
    )


def _average(scores: Sequence[Mapping[str, float]]) -> dict[str, Mean]:
    names = dict.fromkeys(name for each in scores for name in each)
    return {n: average([each[n] for each in scores if n in each]) for n in names}


def _count_columns(found: Sequence[Inspected], *, one_division: bool) -> InputColumns | None:
    """How often each column is kept; None where the inputs are no table."""
    columns = [i.columns for i in found if i.columns is not None]
    if not columns:
        return None
    known = [c for c in columns if c.kept]
    if not known:
        return InputColumns(reason=columns[0].reason)
    shares = [
        ColumnShare(name=name, share=fmean(c.kept[place] for c in known))
        for place, name in enumerate(known[0].names)
    ]
    ordered = sorted(shares, key=lambda column: -column.share)
    return InputColumns(
        trainings=len(known),
        columns=tuple(ordered[:MOST_COLUMNS]),
        left_out=max(0, len(ordered) - MOST_COLUMNS),
        one_division=one_division,
    )
