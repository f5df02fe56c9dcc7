"""Baseline, control and best side by side, metric by metric."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import stdev

from service.report.ordering import list_metrics
from service.report.verdict import compute_closed_share
from service.study.records import GAP_REPORTED, Trial


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


_SIDES = ("val", "test", "gap", GAP_REPORTED, "test_gap")


_Finalists = tuple[Trial | None, Trial | None, Trial | None]


_IN_UNITS = ("val/mae", "test/mae")


def compare(finalists: _Finalists, scale: float | None) -> tuple[ComparisonRow, ...]:
    """Rows of every metric; of a regression, those of the target's units as well."""
    known = [t for t in finalists if t]
    metrics = [f"{side}/{m}" for m in list_metrics(known, "val") for side in _SIDES]
    rows = [
        _build_row(metric, finalists) for metric in metrics if any(metric in t.best for t in known)
    ]
    if scale is not None:
        rows += [_rescale(row, scale) for row in rows if row.metric in _IN_UNITS]
    return tuple(rows)


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
