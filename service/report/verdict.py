"""The answer of a sweep in sentences. Every number in them is in the answer as data."""

from __future__ import annotations

from collections.abc import Iterator

from service.base.number_format import number
from service.report.formatting import format_share, format_signed, format_trial
from service.study.records import GAP_REPORTED, Params, Role, Trial, TrialState
from service.sweep.answer import Answer, Claim, Measured, Part, PartState
from service.sweep.sweep_record import Sweep
from trainables.config.trial_parameters import EARLY_STOPPING

EARLIER_RULE = (
    "This sweep was confirmed by the rule of an earlier version: new seeds on the division that "
    "chose its finalists. That rule confirms too much, so its claim is not repeated; run the spec "
    "again for an answer."
)


def compute_closed_share(baseline: float | None, best: float | None) -> float | None:
    """The share of the gap that is closed, 1 − best/baseline, at most 1; None without a gap."""
    if baseline is None or best is None or not baseline > 0:
        return None
    return min(1.0, 1 - best / baseline)


def write_verdict(sweep: Sweep, answer: Answer) -> str:
    """The claim, its contradictions first, then early stopping, the parts, and the gap."""
    if answer.pick is None:
        return _describe_states(sweep)
    trial = next(t for t in sweep.trials if t.number == answer.pick)
    match answer.claim:
        case Claim.UNCONFIRMED:
            sentences = _write_unconfirmed(sweep, answer, trial)
        case Claim.HELPS:
            sentences = _write_helps(answer, trial)
        case Claim.NOT_SHOWN:
            sentences = _write_not_shown(answer, trial)
        case Claim.UNDECIDED:
            sentences = _write_undecided(answer, trial)
    return " ".join(sentence for sentence in sentences if sentence)


def _write_helps(answer: Answer, trial: Trial) -> Iterator[str]:
    yield _describe_contradiction(answer)
    yield (
        f"Regularisation helps{_on(answer)}: {_name(trial, answer)} {_change(answer)} "
        f"({_evidence(answer)}) compared with the control, {_describe_control(answer)}."
    )
    yield _describe_stopping(answer)
    yield from _describe_parts(answer, trial.params)
    yield _describe_gap(answer)
    yield _describe_constraints(answer)
    yield _describe_replicates(answer)
    yield _describe_redrawn(answer)


def _write_not_shown(answer: Answer, trial: Trial) -> Iterator[str]:
    yield _describe_contradiction(answer)
    excluded = answer.excluded_above
    above = "" if excluded is None else f"; improvements above {number(excluded)} are excluded"
    yield (
        f"Not shown: no useful effect of {_name(trial, answer)} on the {_noun(answer)}{_on(answer)}"
        f"{above} ({_evidence(answer)}), compared with the control, {_describe_control(answer)}."
    )
    yield _describe_stopping(answer)
    yield _describe_replicates(answer)
    yield _describe_redrawn(answer)


def _write_undecided(answer: Answer, trial: Trial) -> Iterator[str]:
    yield _describe_contradiction(answer)
    yield (
        f"Undecided{_on(answer)}: {_name(trial, answer)} {_change(answer)} ({_evidence(answer)}) "
        f"compared with the control, {_describe_control(answer)}; neither an effect nor its "
        "absence is shown."
    )
    yield _describe_limit(answer)
    yield _describe_stopping(answer)
    yield _describe_replicates(answer)
    yield _describe_redrawn(answer)


def _write_unconfirmed(sweep: Sweep, answer: Answer, trial: Trial) -> Iterator[str]:
    named = _name(trial, answer)
    if answer.effect is None:
        yield (
            f"Unconfirmed: no control completed, so there is no comparison. The best is {named}: "
            f"{answer.metric} {number(trial.value)}."
        )
        yield from _describe_failed_controls(sweep)
        return
    error = "" if answer.interval is None else f" ± {_half(answer.interval):.2g}"
    size = number(abs(answer.effect))
    if _is_better(answer, answer.effect):
        source, trained = "the samples' own error", "one training each"
        if sweep.folds is not None:
            source, trained = "the folds' own error", f"a training on each of {sweep.folds} folds"
        by = f" (± {source})" if error else ""
        yield (
            f"Unconfirmed: {named} looks better than the control by {size}{error} in "
            f"{answer.metric}{by}: {trained}, the best of {answer.compared}, not tested."
        )
    else:
        change = f"worse by {size}{error}" if answer.effect else "the same"
        yield (
            f"Unconfirmed: no trial looks better than the control. The closest of "
            f"{answer.compared} is {named}: {answer.metric} is {change}."
        )
    yield f"Not tested: {answer.reason}." if answer.reason else ""
    yield _describe_search_stopping(sweep)
    yield "" if answer.feasible else "It violates the constraints."


def _describe_failed_controls(sweep: Sweep) -> Iterator[str]:
    """Why there is nothing to compare with: each control that failed, with its reason."""
    for trial in sweep.searched:
        if trial.role in (Role.BASELINE, Role.CONTROL) and trial.state is TrialState.FAILED:
            yield f"The {trial.role.value} (trial {trial.number}) failed: {trial.reason}."


def _describe_search_stopping(sweep: Sweep) -> str:
    baseline, control = sweep.baseline, sweep.control
    if baseline is None or control is None:
        return ""
    if control.number != baseline.number or control.value == baseline.value:
        return ""
    return (
        f"Early stopping alone changes the baseline's {sweep.metric} from {number(baseline.value)} "
        f"to {number(control.value)}."
    )


def _describe_contradiction(answer: Answer) -> str:
    """That validation and test samples say contrary things, if they do."""
    pick, control = answer.find_arm("pick"), answer.find_arm("control")
    name = f"val/{answer.metric.partition('/')[2]}"
    if pick is None or control is None or answer.effect is None:
        return ""
    if name not in pick.metrics or name not in control.metrics:
        return ""
    on_val = pick.metrics[name].mean - control.metrics[name].mean
    smallest = answer.min_effect or 0.0
    matters = min(abs(on_val), abs(answer.effect)) >= smallest or _is_shown(answer)
    if not matters or not _is_better(answer, on_val) or _is_better(answer, answer.effect):
        return ""
    return (
        f"Validation and test samples disagree: the pick is better by {number(abs(on_val))} on the "
        f"validation samples and worse by {number(abs(answer.effect))} on the test samples."
    )


def _describe_control(answer: Answer) -> str:
    stops = answer.early_stopping is not None
    return "which has only early stopping" if stops else "which has no regularisation"


def _describe_stopping(answer: Answer) -> str:
    found = answer.early_stopping
    if found is None:
        return ""
    low, high = found.interval
    if low == high == 0:
        return "Early stopping alone changes nothing: it kept the last epoch in every replicate."
    shown = "" if low <= 0 <= high else "; this is not part of the effect above"
    return (
        f"Early stopping alone changes the {_noun(answer)} by {format_signed(found.effect)} "
        f"({_interval(found)}){shown}."
    )


def _describe_parts(answer: Answer, params: Params) -> Iterator[str]:
    if not answer.parts:
        if answer.limit == "trainings":
            yield "Its parts were not tested: the trainings of confirm are used up."
        return
    acting = [p for p in answer.parts if p.state is PartState.ACTS]
    for part in acting:
        assert part.effect is not None
        yield (
            f"Removing {describe_part(part.name, params)} changes the {_noun(answer)} by "
            f"{format_signed(-part.effect)} ({_interval_of(part)}): it acts."
        )
    either = [describe_part(p.name, params) for p in answer.parts if p.suffices]
    if either:
        named = _enumerate(either)
        yield f"{named[0].upper()}{named[1:]} can replace each other: either suffices."
    elif not acting and not all(map(_never_acted, answer.parts)):
        yield "No single part is shown to act."
    never = [describe_part(p.name, params) for p in answer.parts if _never_acted(p)]
    if never:
        named = _enumerate(never)
        yield f"{named[0].upper()}{named[1:]} did not act in any replicate of the pick."
    others = [p for p in answer.parts if p not in acting and not p.suffices and not _never_acted(p)]
    for part in others if acting else ():
        yield _describe_idle(part, params)


def _never_acted(part: Part) -> bool:
    return part.state is PartState.NEVER_ACTED


def _describe_idle(part: Part, params: Params) -> str:
    named = describe_part(part.name, params)
    if part.interval is None:
        return f"For {named} no effect is shown."
    largest = max(abs(bound) for bound in part.interval)
    return f"For {named} no effect is shown; above {number(largest)} is excluded."


def describe_part(name: str, params: Params) -> str:
    """A part in words: its value where it names a component."""
    if name == EARLY_STOPPING:
        return "early stopping"
    if name in ("penalty", "augmentation"):
        return f"the {params.get(name, name)} {name}"
    return name.replace("_", " ")


def _describe_gap(answer: Answer) -> str:
    arms = [answer.find_arm(n) for n in ("baseline", "control", "pick")]
    known = [a.metrics if a else {} for a in arms]
    metric = answer.metric.partition("/")[2]
    name = f"gap/{metric}"
    if not any(name in metrics for metrics in known):
        name = f"{GAP_REPORTED}/{metric}"
    found = [metrics.get(name) for metrics in known]
    if any(f is None for f in found):
        return ""
    baseline, control, pick = (f.mean for f in found if f is not None)
    closed = [compute_closed_share(baseline, value) for value in (control, pick)]
    if closed[0] is None or closed[1] is None:
        return ""
    return (
        f"Of the baseline's {name} of {number(baseline)}, the control closes "
        f"{format_share(max(0.0, closed[0]))} and the pick {format_share(max(0.0, closed[1]))}."
    )


def _describe_constraints(answer: Answer) -> str:
    return "" if answer.feasible else "Over the replicates it violates the constraints."


def _describe_redrawn(answer: Answer) -> str:
    found = answer.sensitivity
    if found is None:
        return ""
    return (
        f"With the test samples drawn anew as well, the difference is "
        f"{format_signed(found.effect)} ({_interval(found)}); this decides nothing."
    )


def _describe_limit(answer: Answer) -> str:
    if answer.limit == "test_rows":
        return (
            "More data are needed: the test samples, not the replicates, limit what can be shown."
        )
    if answer.replicates_needed is not None:
        used = " The trainings of confirm are used up." if answer.limit == "trainings" else ""
        return f"About {answer.replicates_needed} more replicates could decide it.{used}"
    return "The trainings of confirm are used up." if answer.limit == "trainings" else ""


def _describe_states(sweep: Sweep) -> str:
    if sweep.baseline is not None:
        return "Only the baseline completed; there is nothing to compare it with yet."
    states = (TrialState.PRUNED, TrialState.FAILED, TrialState.RUNNING, TrialState.PAUSED)
    counts = [f"{len(sweep.of_state(s))} {s.value}" for s in states if sweep.of_state(s)]
    shown = ", ".join(counts) or "none was started"
    return f"No trial completed ({shown}), so there is no conclusion yet."


def _name(trial: Trial, answer: Answer) -> str:
    without = "".join(f", without {part.replace('_', ' ')}" for part in answer.without)
    audited = f", which was pruned as trial {trial.confirms}" if trial.role is Role.AUDIT else ""
    return f"trial {trial.number} ({format_trial(trial)}{without}){audited}"


def _change(answer: Answer) -> str:
    assert answer.effect is not None
    verb = "lowers" if answer.effect < 0 else "raises"
    return f"{verb} the {_noun(answer)} by {number(abs(answer.effect))}"


def _evidence(answer: Answer) -> str:
    what = _REPLICATES[answer.on]
    parts = []
    if answer.interval is not None and answer.level is not None:
        low, high = (format_signed(b) for b in answer.interval)
        parts.append(f"{100 * answer.level:.4g} % interval {low} to {high}")
    if answer.p is not None:
        threshold = "" if answer.level is None else f" (threshold {(1 - answer.level) / 2:.2g})"
        parts.append(f"p = {answer.p:.2g}{threshold}")
    parts.append(f"{answer.replicates} {what}")
    parts.append(f"{answer.test_rows:,} test samples" if answer.test_rows > 1 else "by their means")
    return ", ".join(parts)


_REPLICATES = {
    "new_splits": "new seeds and splits",
    "one_split": "new seeds",
    "new_seeds": "new seeds only",
}


def _describe_replicates(answer: Answer) -> str:
    """What the replicates do not show, where a loop of the user's trained them."""
    if answer.on != "new_seeds":
        return ""
    said = "The replicates differ by their seeds only: they say nothing about other samples."
    if answer.metric.startswith("test/"):
        return said
    return (
        f"{said} {answer.metric} is of samples that chose the pick, too, which favours it: tell a "
        "test metric of each replicate for a stricter answer."
    )


def _on(answer: Answer) -> str:
    return " on this split" if answer.on == "one_split" else ""


def _noun(answer: Answer) -> str:
    return answer.metric.replace("/", " ")


def _is_better(answer: Answer, effect: float) -> bool:
    return effect > 0 if answer.mode == "max" else effect < 0


def _is_shown(answer: Answer) -> bool:
    """Whether the interval excludes 0."""
    return answer.interval is not None and not answer.interval[0] <= 0 <= answer.interval[1]


def _half(interval: tuple[float, float]) -> float:
    return (interval[1] - interval[0]) / 2


def _interval(found: Measured) -> str:
    low, high = (format_signed(b) for b in found.interval)
    return f"95 % interval {low} to {high}"


def _interval_of(part: Part) -> str:
    if part.interval is None:
        return "no interval"
    low, high = sorted(-b for b in part.interval)
    return f"95 % interval {format_signed(low)} to {format_signed(high)}"


def _enumerate(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
