"""The conclusion in sentences: whether a trial beats the baseline, and the gap it closes."""

from __future__ import annotations

from collections.abc import Sequence

from service.base.number_format import number
from service.report.comparison import ConfirmedRow
from service.report.formatting import (
    format_configuration,
    format_interval,
    format_share,
    format_signed,
)
from service.study.records import Trial, TrialState
from service.sweep.sweep_record import Sweep


def compute_closed_share(baseline: float | None, best: float | None) -> float | None:
    """The share of the gap that is closed, 1 − best/baseline; None without a positive gap."""
    if baseline is None or best is None or not baseline > 0:
        return None
    return 1 - best / baseline


def write_verdict(sweep: Sweep, baseline: Trial | None, best: Trial | None) -> str:
    """One to four sentences. ``best`` is the best completed trial except the baseline."""
    if baseline is None and best is None:
        return _describe_states(sweep)
    if best is None:
        return "Only the baseline completed; there is nothing to compare it with yet."
    if baseline is None:
        return _describe_without_baseline(sweep, best)
    sentences = [
        _describe_objective(sweep, baseline, best),
        _describe_gap(baseline, best),
        _describe_test_loss(baseline, best),
        _describe_constraints(baseline, best),
    ]
    return " ".join(s for s in sentences if s)


def write_confirmed_verdict(sweep: Sweep, rows: Sequence[ConfirmedRow]) -> str:
    """The result over new seeds. ``rows`` holds the baseline, then the finalists."""
    baseline, *finalists = rows
    if not finalists:
        return "No finalist completed its confirmation, so nothing is confirmed."
    best = sweep.best
    pick = next((r for r in finalists if best and r.trial.number == best.number), finalists[0])
    if not any(r.comparison and r.comparison.better for r in finalists):
        return (
            f"No regulariser helped here: over {baseline.seeds} new seeds, no finalist is "
            f"significantly better than the baseline in {sweep.metric}. The closest is "
            f"{_describe_trial(finalists[0].trial)}: {_describe_difference(finalists[0])}."
        )
    sentences = [
        _describe_pick(sweep, pick, len(finalists)),
        _describe_confirmed_gap(baseline, pick),
        _describe_optimism(sweep, pick),
    ]
    return " ".join(s for s in sentences if s)


def _describe_pick(sweep: Sweep, pick: ConfirmedRow, finalists: int) -> str:
    named = _describe_trial(pick.trial, start=True)
    if pick.comparison is None or not pick.comparison.better:
        return (
            f"{named} is selected, but it is not significantly better than the baseline in "
            f"{sweep.metric}: {_describe_difference(pick)}; another finalist is."
        )
    corrected = f", corrected by Holm's method for {finalists} finalists" if finalists > 1 else ""
    return (
        f"Confirmed over {pick.seeds} new seeds: {named[0].lower()}{named[1:]} beats the baseline "
        f"in {sweep.metric}: {_describe_difference(pick)}{corrected}."
    )


def _describe_difference(row: ConfirmedRow) -> str:
    if row.comparison is None:
        return "too few seeds completed to compare"
    found, half = row.comparison.difference, row.comparison.difference.half or 0.0
    low, high = format_signed(found.mean - half), format_signed(found.mean + half)
    return (
        f"difference {format_signed(found.mean)} (95 % interval {low} to {high}; "
        f"{row.comparison.test}, p = {row.comparison.p:.2g})"
    )


def _describe_confirmed_gap(baseline: ConfirmedRow, pick: ConfirmedRow) -> str:
    left, right = (r.intervals.get("gap/loss") for r in (baseline, pick))
    if left is None or right is None:
        return ""
    values = f"{format_interval(right)} against {format_interval(left)}"
    share = compute_closed_share(left.mean, right.mean)
    if share is None:
        return f"Its gap/loss is {values}."
    return f"It closes {format_share(share)} of the gap/loss: {values}."


def _describe_optimism(sweep: Sweep, pick: ConfirmedRow) -> str:
    chosen, now = number(pick.trial.value), number(pick.intervals[sweep.metric].mean)
    return f"Its {sweep.metric} was {chosen} in the search and is {now} over the new seeds."


def _describe_states(sweep: Sweep) -> str:
    states = (TrialState.PRUNED, TrialState.FAILED, TrialState.RUNNING)
    counts = [f"{len(sweep.of_state(s))} {s.value}" for s in states if sweep.of_state(s)]
    shown = ", ".join(counts) or "none was started"
    return f"No trial completed ({shown}), so there is no conclusion yet."


def _describe_without_baseline(sweep: Sweep, best: Trial) -> str:
    gap = best.best.get("gap/loss")
    at_gap = f" with a gap/loss of {number(gap)}" if gap is not None else ""
    return (
        f"No baseline completed, so there is no comparison. The best is {_describe_trial(best)}: "
        f"{sweep.metric} {number(best.value)}{at_gap}."
    )


def _describe_objective(sweep: Sweep, baseline: Trial, best: Trial) -> str:
    values = f"{sweep.metric} {number(best.value)} against {number(baseline.value)}"
    if is_better(sweep, baseline, best):
        return f"{_describe_trial(best, start=True)} beats the baseline: {values}."
    others = (t for t in sweep.of_state(TrialState.COMPLETE) if t is not baseline)
    if any(is_better(sweep, baseline, t) for t in others):
        named = _describe_trial(best, start=True)
        return f"{named} meets the constraints best, but does not beat the baseline: {values}."
    return f"No trial beats the baseline; the closest is {_describe_trial(best)}: {values}."


def is_better(sweep: Sweep, baseline: Trial, best: Trial) -> bool:
    """Whether ``best`` has a strictly better value of the objective."""
    if baseline.value is None or best.value is None:
        return False
    if sweep.mode == "max":
        return best.value > baseline.value
    return best.value < baseline.value


def _describe_gap(baseline: Trial, best: Trial) -> str:
    left, right = baseline.best.get("gap/loss"), best.best.get("gap/loss")
    if left is None or right is None:
        return ""
    share = compute_closed_share(left, right)
    if share is None:
        return f"The baseline had no gap to close (gap/loss {number(left)})."
    values = f"({number(right)} against {number(left)})"
    if share < 0:
        return f"Its gap/loss is {format_share(-share)} wider {values}."
    if share >= 1:
        return f"It closes the whole gap/loss {values}."
    return f"It closes {format_share(share)} of the gap/loss {values}."


def _describe_test_loss(baseline: Trial, best: Trial) -> str:
    left, right = baseline.best.get("test/loss"), best.best.get("test/loss")
    if left is None or right is None:
        return ""
    better = "lower" if right < left else "not lower"
    return f"Its test loss is {better}: {number(right)} against {number(left)}."


def _describe_constraints(baseline: Trial, best: Trial) -> str:
    if best.violation and baseline.violation:
        return "No trial met the constraints."
    if best.violation:
        return "It violates the constraints, as does every trial except the baseline."
    return "It meets the constraints; the baseline does not." if baseline.violation else ""


def _describe_trial(trial: Trial, *, start: bool = False) -> str:
    return f"{'Trial' if start else 'trial'} {trial.number} ({format_configuration(trial.params)})"
