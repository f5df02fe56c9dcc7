"""The answer in plain words: did anything beat the baseline, and how much of the gap it closed."""

from __future__ import annotations

from service.records import Sweep, Trial, TrialState
from service.report.words import configuration, number, percent


def closed(baseline: float | None, best: float | None) -> float | None:
    """The share of a gap that is closed, 1 − best/baseline; None without a positive gap."""
    if baseline is None or best is None or not baseline > 0:
        return None
    return 1 - best / baseline


def verdict(sweep: Sweep, baseline: Trial | None, best: Trial | None) -> str:
    """One to four sentences. ``best`` is the best completed trial but the baseline."""
    if baseline is None and best is None:
        return _nothing_completed(sweep)
    if best is None:
        return "Only the baseline completed: nothing to compare it with yet."
    if baseline is None:
        return _without_baseline(sweep, best)
    sentences = [
        _on_the_objective(sweep, baseline, best),
        _on_the_gap(baseline, best),
        _on_the_test_set(baseline, best),
        _on_the_constraints(baseline, best),
    ]
    return " ".join(s for s in sentences if s)


def _nothing_completed(sweep: Sweep) -> str:
    states = (TrialState.PRUNED, TrialState.FAILED, TrialState.RUNNING)
    counts = [f"{len(sweep.of_state(s))} {s.value}" for s in states if sweep.of_state(s)]
    return (
        f"No trial completed ({', '.join(counts) or 'none was started'}): there is no answer yet."
    )


def _without_baseline(sweep: Sweep, best: Trial) -> str:
    gap = best.best.get("gap/loss")
    at_gap = f" with a gap/loss of {number(gap)}" if gap is not None else ""
    return (
        f"No baseline completed, so nothing can be compared. The best is {_named(best)}: "
        f"{sweep.metric} {number(best.value)}{at_gap}."
    )


def _on_the_objective(sweep: Sweep, baseline: Trial, best: Trial) -> str:
    values = f"{sweep.metric} {number(best.value)} against {number(baseline.value)}"
    if beats(sweep, baseline, best):
        return f"{_named(best, start=True)} beats the baseline: {values}."
    others = (t for t in sweep.of_state(TrialState.COMPLETE) if t is not baseline)
    if any(beats(sweep, baseline, t) for t in others):
        named = _named(best, start=True)
        return f"{named} fits the constraints best, but does not beat the baseline: {values}."
    return f"Nothing beat the baseline; nearest comes {_named(best)}: {values}."


def beats(sweep: Sweep, baseline: Trial, best: Trial) -> bool:
    """Whether the objective's value is strictly better, in the objective's mode."""
    if baseline.value is None or best.value is None:
        return False
    if sweep.mode == "max":
        return best.value > baseline.value
    return best.value < baseline.value


def _on_the_gap(baseline: Trial, best: Trial) -> str:
    left, right = baseline.best.get("gap/loss"), best.best.get("gap/loss")
    if left is None or right is None:
        return ""
    share = closed(left, right)
    if share is None:
        return f"The baseline had no gap to close (gap/loss {number(left)})."
    values = f"({number(right)} against {number(left)})"
    if share < 0:
        return f"Its gap/loss is {percent(-share)} wider {values}."
    if share >= 1:
        return f"It closes the whole gap/loss {values}."
    return f"It closes {percent(share)} of the gap/loss {values}."


def _on_the_test_set(baseline: Trial, best: Trial) -> str:
    left, right = baseline.best.get("test/loss"), best.best.get("test/loss")
    if left is None or right is None:
        return ""
    better = "lower" if right < left else "not lower"
    return f"On the test set its loss is {better}: {number(right)} against {number(left)}."


def _on_the_constraints(baseline: Trial, best: Trial) -> str:
    if best.violation and baseline.violation:
        return "No trial met the constraints."
    if best.violation:
        return "It breaks the constraints, as does every other trial but the baseline."
    return "It meets the constraints, the baseline does not." if baseline.violation else ""


def _named(trial: Trial, *, start: bool = False) -> str:
    return f"{'Trial' if start else 'trial'} {trial.number} ({configuration(trial.params)})"
