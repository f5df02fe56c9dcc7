"""The contents of a report as frozen values, which the page, the plots and the terminal show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from service.answer.unconfirmed import leave_unconfirmed
from service.report.component_groups import GroupRow, group_trials
from service.report.curves import Curves, GapPoint, build_curves, collect_gap_points
from service.report.edge_text import write_warning
from service.report.finalist_comparison import ComparisonRow, compare
from service.report.ordering import list_metrics
from service.report.refit_text import write_refit
from service.report.savings import Savings, count_savings
from service.report.verdict import EARLIER_RULE, write_verdict
from service.study.importance import Importances
from service.study.records import GAP_REPORTED, Role, Trial, TrialState, find_gap
from service.sweep.answer import Answer
from service.sweep.cost import describe_cost
from service.sweep.inspection import Inspection
from service.sweep.range_edges import EdgeWarning, find_edges
from service.sweep.sweep_record import Sweep, SweepState

REPORTED_NOTE = (
    "gap_reported is as the loop reported both sides: its training metrics may contain dropout and "
    "augmentation, and be of other weights."
)


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
        f"{side}/{m}" for side in ("gap", GAP_REPORTED) for m in list_metrics(sweep.trials, side)
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
        comparison=compare((baseline, control, best), answer.target_scale),
        gap_metrics=gap_metrics,
        by_penalty=group_trials(sweep, gap_metrics, lambda t: t.penalty),
        by_augmentation=group_trials(sweep, gap_metrics, lambda t: t.augmentation),
        gap_points=collect_gap_points(sweep),
        baseline_gap=find_gap(baseline.best) if baseline else None,
        curves=tuple(build_curves(r, t) for r, t in (("baseline", baseline), ("best", best)) if t),
        importances=importances,
        savings=count_savings(sweep),
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
