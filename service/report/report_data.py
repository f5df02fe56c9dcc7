"""The contents of a report as frozen values, which the page, the plots and the terminal show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from statistics import stdev

from search_spaces.values import Value
from service.answer.unconfirmed import leave_unconfirmed
from service.report.edges import write_warning
from service.report.formatting import format_parts, list_idle_parameters
from service.report.refit import write_refit
from service.report.verdict import EARLIER_RULE, compute_closed_share, write_verdict
from service.study.importance import Importances
from service.study.records import GAP_REPORTED, OUT_OF_BUDGET, Role, Trial, TrialState, find_gap
from service.sweep.answer import Answer
from service.sweep.cost import describe_cost
from service.sweep.edges import EdgeWarning, find_edges
from service.sweep.inspection import Inspection
from service.sweep.sweep_record import Sweep, SweepState
from trainables.config.penalties import penalties

CURVES = ("train/loss", "train_reported/loss", "val/loss", "gap/loss", "gap_reported/loss")
_SIDES = ("val", "test", "gap", GAP_REPORTED, "test_gap")
REPORTED_NOTE = (
    "gap_reported is as the loop reported both sides: its training metrics may contain dropout and "
    "augmentation, and be of other weights."
)
_NAME_ORDER = ("none", *penalties.built_in())
_METRIC_ORDER = ("loss", "accuracy")


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One metric of baseline, control and best, one training each, at their kept weights.

    ``errors`` are the standard errors of the three by the samples, known for gaps; of trials with
    folds, they are standard deviations over the folds of what is a mean over them. ``closed`` is
    1 − best/baseline of a gap: 1 closes it, below 0 widens it. None if the metric is not a gap, if
    a side is missing, or if the baseline's gap is not positive (then there is a ``note``).
    """

    metric: str
    baseline: float | None
    control: float | None
    best: float | None
    errors: tuple[float | None, float | None, float | None]
    closed: float | None
    note: str


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """The trials of one penalty or augmentation, and the best completed one of them.

    ``gaps`` belong to that trial, in the order of :attr:`ReportData.gap_metrics`, and so do the
    parts ``not_acting``.
    """

    name: str
    complete: int
    pruned: int
    trial: int | None
    value: float | None
    gaps: tuple[float | None, ...]
    lam: Value
    dropout: Value
    not_acting: tuple[str, ...] = ()


@dataclass(frozen=True)
class GapPoint:
    """One completed trial: its λ and its gap/loss."""

    trial: int
    lam: float
    gap: float


@dataclass(frozen=True, kw_only=True)
class Curves:
    """One finalist's series, each as (epochs, values); ``best_epoch`` is the one restored.

    Of a trial with folds they are those of the first one, whose weights are kept.
    """

    role: str
    trial: int
    series: Mapping[str, tuple[tuple[int, ...], tuple[float, ...]]]
    best_epoch: int | None


@dataclass(frozen=True, kw_only=True)
class Savings:
    """Epochs that ran, and those that pruning and early stopping saved.

    A pruned trial is assumed to run ``max_epochs`` otherwise; early stopping might have ended it
    sooner, so ``pruning`` is an upper bound.
    """

    run: int
    pruning: int
    early_stopping: int

    @property
    def pruning_share(self) -> float | None:
        """Fraction of the epochs that would have run without pruning; None if there are none."""
        total = self.run + self.pruning
        return self.pruning / total if total else None

    @property
    def early_stopping_share(self) -> float | None:
        """Fraction of the epochs that would have run without early stopping."""
        total = self.run + self.early_stopping
        return self.early_stopping / total if total else None


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """A whole report. ``best`` is None if no trial except the baseline completed.

    ``not_acting`` has the parts that had no effect in a trial of the search, with those trials;
    ``refit`` are sentences on what was trained again on all samples, ``search_notes`` on how the
    search went, ``cost`` the CPU- and GPU-hours.
    """

    sweep_id: str
    name: str
    state: SweepState
    seconds: float
    metric: str
    mode: str
    folds: int | None
    counts: Mapping[str, int]
    baseline: Trial | None
    control: Trial | None
    best: Trial | None
    comparison: tuple[ComparisonRow, ...]
    gap_metrics: tuple[str, ...]
    by_penalty: tuple[GroupRow, ...]
    by_augmentation: tuple[GroupRow, ...]
    gap_points: Mapping[str, tuple[GapPoint, ...]]
    baseline_gap: float | None
    curves: tuple[Curves, ...]
    importances: Importances
    savings: Savings
    answer: Answer
    not_neutral: tuple[str, ...]
    ranges: tuple[str, ...]
    idle_ranges: tuple[str, ...]
    verdict: str
    reading: tuple[str, ...] = ()
    inspection: Inspection = field(default_factory=Inspection)
    not_acting: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    edges: EdgeWarning | None = None
    refit: tuple[str, ...] = ()
    search_notes: tuple[str, ...] = ()
    cost: str = ""

    @property
    def of_trainings(self) -> str:
        """What a trial's metrics are of."""
        if self.folds is None:
            return "one training each"
        return f"mean ± deviation over {self.folds} folds (test: the first)"

    @property
    def gap_note(self) -> str:
        """What to know of gaps that were only reported; empty if there are none."""
        reported = any(row.metric.startswith(f"{GAP_REPORTED}/") for row in self.comparison)
        return REPORTED_NOTE if reported else ""

    @property
    def description(self) -> str:
        """The verdict, and the warning of best values at the edge of their ranges."""
        return " ".join([self.verdict, *([write_warning(self.edges)] if self.edges else [])])


def build_report(sweep: Sweep, importances: Importances) -> ReportData:
    """The report of a sweep in any state."""
    baseline, control, best = sweep.baseline, sweep.control, find_challenger(sweep)
    gap_metrics = tuple(
        f"{side}/{m}" for side in ("gap", GAP_REPORTED) for m in _list_metrics(sweep.trials, side)
    )
    answer = sweep.answer or leave_unconfirmed(
        sweep.ranking, sweep.trials, None, _explain_missing(sweep)
    )
    return ReportData(
        sweep_id=sweep.sweep_id,
        name=sweep.name,
        state=sweep.state,
        seconds=sweep.seconds,
        metric=sweep.metric,
        mode=sweep.mode,
        folds=sweep.folds,
        counts=_count_states(sweep),
        baseline=baseline,
        control=control,
        best=best,
        comparison=_compare((baseline, control, best), answer.target_scale),
        gap_metrics=gap_metrics,
        by_penalty=_group_trials(sweep, gap_metrics, lambda t: t.penalty),
        by_augmentation=_group_trials(sweep, gap_metrics, lambda t: t.augmentation),
        gap_points=_collect_gap_points(sweep),
        baseline_gap=find_gap(baseline.best) if baseline else None,
        curves=tuple(_build_curves(r, t) for r, t in (("baseline", baseline), ("best", best)) if t),
        importances=importances,
        savings=_count_savings(sweep),
        answer=answer,
        not_neutral=sweep.not_neutral,
        ranges=sweep.ranges,
        idle_ranges=sweep.idle_ranges,
        verdict=_write_verdict(sweep, answer),
        reading=sweep.reading,
        inspection=sweep.inspection or Inspection(),
        not_acting=sweep.not_acting,
        edges=find_edges(sweep),
        refit=() if sweep.refit is None else write_refit(sweep.refit, len(sweep.trials)),
        search_notes=tuple(_describe_search(sweep)),
        cost="" if sweep.cost is None else describe_cost(sweep.cost),
    )


def _describe_search(sweep: Sweep) -> Iterator[str]:
    """Why the search ended before its budget, and how often it was kept from a repeat."""
    if sweep.search_end is not None:
        yield (
            f"It ended after {len(sweep.searched)} trials, before its budget: {sweep.search_end}. "
            "What is left goes to the confirmation."
        )
    if sweep.repeats:
        who = "1 trial" if sweep.repeats == 1 else f"{sweep.repeats} trials"
        yield f"{who} would have repeated one that was trained already, and took another point."


def _write_verdict(sweep: Sweep, answer: Answer) -> str:
    """The verdict, and a warning if its trials did not all run on the same."""
    found = EARLIER_RULE if _used_earlier_rule(sweep) else write_verdict(sweep, answer)
    if not sweep.changes:
        return found
    warning = "Trials before and after cannot be compared, and this does not correct for it."
    return " ".join((found, *sweep.changes, warning))


def _explain_missing(sweep: Sweep) -> str:
    if sweep.state in (SweepState.SUCCEEDED, SweepState.FAILED):
        return "confirm is off"
    return f"the sweep is {sweep.state.value}"


def _used_earlier_rule(sweep: Sweep) -> bool:
    return sweep.answer is None and any(t.role is Role.CONFIRM for t in sweep.trials)


IDLE_MARK = "*"
"""What stands behind the number of a trial of which a part had no effect."""


def describe_idle(row: GroupRow) -> str:
    """Which parts of a row's trial had no effect."""
    return f"{IDLE_MARK} trial {row.trial}: no effect of {format_parts(row.not_acting)}"


def list_arm_metrics(answer: Answer) -> tuple[str, ...]:
    """The metrics that a table of arms shows: the objective's on each side, and its gap."""
    name = answer.metric.partition("/")[2]
    wanted = (f"val/{name}", f"test/{name}", f"gap/{name}", f"{GAP_REPORTED}/{name}")
    return tuple(m for m in wanted if any(m in arm.metrics for arm in answer.arms))


def _count_states(sweep: Sweep) -> dict[str, int]:
    """The search's trials by state, and the audits and replicates that completed."""
    counts = {s.value: sum(t.state is s for t in sweep.searched) for s in TrialState}
    return counts | {
        "audited": sum(t.role is Role.AUDIT for t in sweep.of_state(TrialState.COMPLETE)),
        "replicated": sum(t.replicate > 0 for t in sweep.of_state(TrialState.COMPLETE)),
    }


def find_challenger(sweep: Sweep) -> Trial | None:
    """The best completed trial that is not the baseline."""
    best = sweep.best
    return None if best is None or best.role is Role.BASELINE else best


def _list_metrics(trials: Iterable[Trial], side: str) -> list[str]:
    """Names of the metrics of one side (``loss`` of ``gap/loss``), the loss first."""
    keys = {key for t in trials for key in t.best if key.startswith(f"{side}/")}
    return sorted((key.partition("/")[2] for key in keys), key=_build_sort_key(_METRIC_ORDER))


def _build_sort_key(order: tuple[str, ...]) -> Callable[[str], tuple[int, str]]:
    """Sort key: known names in the given order, then the others alphabetically."""
    return lambda name: (order.index(name) if name in order else len(order), name)


_Finalists = tuple[Trial | None, Trial | None, Trial | None]


def _compare(finalists: _Finalists, scale: float | None) -> tuple[ComparisonRow, ...]:
    """Rows of every metric; of a regression, those of the target's units as well."""
    known = [t for t in finalists if t]
    metrics = [f"{side}/{m}" for m in _list_metrics(known, "val") for side in _SIDES]
    rows = [
        _build_row(metric, finalists) for metric in metrics if any(metric in t.best for t in known)
    ]
    if scale is not None:
        rows += [_rescale(row, scale) for row in rows if row.metric in _IN_UNITS]
    return tuple(rows)


_IN_UNITS = ("val/mae", "test/mae")


def _rescale(row: ComparisonRow, scale: float) -> ComparisonRow:
    baseline, control, best = (
        None if v is None else scale * v for v in (row.baseline, row.control, row.best)
    )
    return replace(
        row,
        metric=f"{row.metric} (target)",
        baseline=baseline,
        control=control,
        best=best,
    )


def _build_row(metric: str, finalists: _Finalists) -> ComparisonRow:
    baseline, control, best = (t.best.get(metric) if t else None for t in finalists)
    first, second, third = (_find_spread(t, metric) if t else None for t in finalists)
    is_gap = metric.startswith(("gap/", f"{GAP_REPORTED}/", "test_gap/"))
    no_gap = is_gap and baseline is not None and baseline <= 0
    return ComparisonRow(
        metric=metric,
        baseline=baseline,
        control=control,
        best=best,
        errors=(first, second, third),
        closed=compute_closed_share(baseline, best) if is_gap else None,
        note="no gap" if no_gap else "",
    )


def _find_spread(trial: Trial, metric: str) -> float | None:
    """The deviation over the folds of what is a mean over them, else the error by the samples."""
    values = [fold[metric] for fold in trial.folds if metric in fold]
    return stdev(values) if len(values) > 1 else trial.errors.get(metric)


def _group_trials(
    sweep: Sweep, gap_metrics: tuple[str, ...], name_of: Callable[[Trial], str]
) -> tuple[GroupRow, ...]:
    trials = [t for t in sweep.searched if t.role is not Role.BASELINE]  # it never stops early
    names = sorted({name_of(t) for t in trials}, key=_build_sort_key(_NAME_ORDER))
    return tuple(
        _build_group(sweep, gap_metrics, name, [t for t in trials if name_of(t) == name])
        for name in names
    )


def _build_group(
    sweep: Sweep, gap_metrics: tuple[str, ...], name: str, trials: list[Trial]
) -> GroupRow:
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    best = min(complete, key=sweep.ranking.key, default=None)
    return GroupRow(
        name=name,
        complete=len(complete),
        pruned=sum(t.state is TrialState.PRUNED for t in trials),
        trial=best.number if best else None,
        value=best.value if best else None,
        gaps=tuple(best.best.get(m) if best else None for m in gap_metrics),
        lam=best.params.get("lambda") if best else None,
        dropout=best.params.get("dropout") if best else None,
        not_acting=list_idle_parameters(best.not_acting) if best else (),
    )


def _collect_gap_points(sweep: Sweep) -> Mapping[str, tuple[GapPoint, ...]]:
    """Completed trials with a penalty and positive λ, by penalty, in order of λ."""
    found: dict[str, list[GapPoint]] = {}
    for trial in (t for t in sweep.searched if t.state is TrialState.COMPLETE):
        lam, gap = trial.params.get("lambda"), find_gap(trial.best)
        if trial.penalty != "none" and isinstance(lam, int | float) and lam > 0 and gap is not None:
            found.setdefault(trial.penalty, []).append(GapPoint(trial.number, float(lam), gap))
    names = sorted(found, key=_build_sort_key(_NAME_ORDER))
    return {n: tuple(sorted(found[n], key=lambda p: (p.lam, p.trial))) for n in names}


def _build_curves(role: str, trial: Trial) -> Curves:
    kept = trial.folds[0] if trial.folds else trial.best
    first = replace(trial, epochs=tuple(e for e in trial.epochs if e.fold <= 1))
    series = {metric: first.series(metric) for metric in CURVES}
    best_epoch = kept.get("epoch")
    return Curves(
        role=role,
        trial=trial.number,
        series={m: (tuple(x), tuple(y)) for m, (x, y) in series.items() if x},
        best_epoch=None if best_epoch is None or not isfinite(best_epoch) else int(best_epoch),
    )


def _count_savings(sweep: Sweep) -> Savings:
    """Of the search: replicates are never pruned."""

    def count_saved(state: TrialState) -> int:
        trials = (t for t in sweep.searched if t.state is state and t.reason != OUT_OF_BUDGET)
        return sum(max(_get_max_epochs(sweep, t) - _count_epochs(t), 0) for t in trials)

    return Savings(
        run=sum(_count_epochs(t) for t in sweep.searched),
        pruning=count_saved(TrialState.PRUNED),
        early_stopping=count_saved(TrialState.COMPLETE),
    )


def _count_epochs(trial: Trial) -> int:
    return max((e.epoch for e in trial.epochs), default=trial.stopped_epoch or 0)


def _get_max_epochs(sweep: Sweep, trial: Trial) -> int:
    """The epoch budget of a trial of the search: ``max_epochs`` may be a searched parameter."""
    searched = trial.params.get("max_epochs")
    most = searched if isinstance(searched, int) else sweep.max_epochs
    return most * (sweep.folds or 1)
