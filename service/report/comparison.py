"""Statistics of the confirmation: intervals, paired tests and optimism over new seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats

from service.study.records import Trial
from service.sweep.sweep_record import Sweep

LEVEL = 0.95
ALPHA = 0.05
_SIDES = ("val", "test", "gap", "test_gap")
_NORMAL_FROM = 6  # with fewer differences, normality cannot be rejected
_WILCOXON_FROM = 6  # with fewer pairs its smallest two-sided p is above 0.05


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % interval, by Student's t; None for one value."""

    mean: float
    half: float | None


@dataclass(frozen=True)
class Comparison:
    """Finalist minus baseline, paired by seed; ``p`` is corrected for all finalists."""

    difference: Interval
    test: str
    p: float
    better: bool


@dataclass(frozen=True, kw_only=True)
class ConfirmedRow:
    """One finalist, or the baseline (without a comparison), over its seeds.

    ``optimism`` is how much better its value was in the search than in the confirmation.
    ``incomplete`` counts the repeats that did not complete.
    """

    trial: Trial
    seeds: int
    incomplete: int
    intervals: Mapping[str, Interval]
    comparison: Comparison | None
    optimism: float


def compare_finalists(sweep: Sweep) -> tuple[ConfirmedRow, ...]:
    """The baseline, then finalists ordered by mean; empty for a sweep without confirmation."""
    repeats, baseline = sweep.repeats, sweep.baseline
    if baseline is None or baseline.number not in repeats:
        return ()
    by_number = {t.number: t for t in sweep.searched}
    finalists = [by_number[n] for n in repeats if n != baseline.number]
    raw = {t.number: _compare(sweep, baseline, t) for t in finalists}
    corrected = _correct_p_values({n: c.p for n, c in raw.items() if c is not None})
    rows = []
    for trial in finalists:
        found = raw[trial.number]
        if found is not None:
            p = corrected[trial.number]
            found = Comparison(found.difference, found.test, p, found.better and p < ALPHA)
        rows.append(_build_row(sweep, trial, found))
    sign = -1.0 if sweep.mode == "max" else 1.0
    rows.sort(key=lambda row: sign * row.intervals[sweep.metric].mean)
    return (_build_row(sweep, baseline, None), *rows)


def compute_interval(values: Sequence[float]) -> Interval:
    """Mean ± t·s/√n."""
    if len(values) < 2:
        return Interval(fmean(values), None)
    t = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1))
    return Interval(fmean(values), t * stdev(values) / len(values) ** 0.5)


def run_paired_test(differences: Sequence[float]) -> tuple[str, float]:
    """Choose a test for the differences; returns its name and two-sided p.

    Student's paired t-test, or Wilcoxon's signed-rank test if there are at least six differences
    and the Shapiro-Wilk test rejects normality. With fewer pairs, Wilcoxon's p is never below 0.05.
    """
    largest = max(abs(d) for d in differences)
    if max(differences) - min(differences) <= 1e-9 * largest:  # no spread to test
        return "paired t-test", 1.0 if largest == 0 else 0.0
    if len(differences) >= _NORMAL_FROM and stats.shapiro(differences).pvalue < ALPHA:
        return "Wilcoxon signed-rank test", float(stats.wilcoxon(differences).pvalue)
    return "paired t-test", float(stats.ttest_1samp(differences, 0.0).pvalue)


def _build_row(sweep: Sweep, trial: Trial, comparison: Comparison | None) -> ConfirmedRow:
    runs = sweep.repeats[trial.number]
    names = [n for n in runs[0].best if n.partition("/")[0] in _SIDES]
    values = {n: [r.best[n] for r in runs if n in r.best] for n in names}
    values[sweep.metric] = [r.value for r in runs if r.value is not None]
    sign = -1.0 if sweep.mode == "max" else 1.0
    chosen = trial.value if trial.value is not None else float("nan")
    return ConfirmedRow(
        trial=trial,
        seeds=len(runs),
        incomplete=sum(t.confirms == trial.number for t in sweep.trials) - len(runs),
        intervals={name: compute_interval(v) for name, v in values.items()},
        comparison=comparison,
        optimism=sign * (fmean(values[sweep.metric]) - chosen),
    )


def _compare(sweep: Sweep, baseline: Trial, trial: Trial) -> Comparison | None:
    """None if fewer than two seeds completed for both."""
    left = {r.seed: r.value for r in sweep.repeats[baseline.number]}
    pairs = [
        (r.value, left[r.seed]) for r in sweep.repeats[trial.number] if left.get(r.seed) is not None
    ]
    differences = [v - b for v, b in pairs if v is not None and b is not None]
    if len(differences) < 2:
        return None
    test, p = run_paired_test(differences)
    sign = -1.0 if sweep.mode == "max" else 1.0
    found = compute_interval(differences)
    return Comparison(found, test, p, sign * found.mean < 0)


def _correct_p_values(p: Mapping[int, float]) -> dict[int, float]:
    """Holm 1979: step-down correction for as many comparisons as there are finalists."""
    ordered, largest, corrected = sorted(p, key=lambda n: p[n]), 0.0, {}
    for position, number in enumerate(ordered):
        largest = max(largest, min(1.0, (len(p) - position) * p[number]))
        corrected[number] = largest
    return corrected
