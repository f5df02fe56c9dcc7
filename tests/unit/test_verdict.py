"""What a verdict says for each claim: no more than the answer has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.report.page import render
from service.report.report_data import build_report
from service.report.verdict import write_verdict
from service.study.importance import Importances
from service.study.records import Role, TrialState
from service.sweep.answer import Answer, Arm, Claim, Mean, Measured, Part, PartState
from service.sweep.sweep_record import Sweep
from tests.reports import shown, sweep, trial

SWEEP = sweep(
    trial(0, 0.5, 0.4),
    trial(1, 0.4, 0.1, penalty="l1", augmentation="noise", **{"lambda": 0.003}),
)


def arm(name: str, test: float, val: float, gap: float = 0.2) -> Arm:
    means = {"test/loss": test, "val/loss": val, "gap/loss": gap}
    metrics = {k: Mean(mean=v, half=0.01) for k, v in means.items()}
    return Arm(name=name, trial=1 if name == "pick" else 0, replicates=8, failed=0, metrics=metrics)


def answer(claim: Claim, **changes: Any) -> Answer:
    known: dict[str, Any] = {
        "metric": "test/loss",
        "mode": "min",
        "pick": 1,
        "control": 0,
        "effect": -0.02,
        "interval": (-0.03, -0.01),
        "level": 0.99,
        "p": 0.001,
        "replicates": 8,
        "test_rows": 360,
        "min_effect": 0.003,
        "early_stopping": Measured(effect=-0.01, interval=(-0.02, -0.001)),
        "arms": (
            arm("baseline", 0.51, 0.52, 0.4),
            arm("control", 0.5, 0.51, 0.3),
            arm("pick", 0.48, 0.49),
        ),
        "compared": 12,
    }
    return Answer(claim=claim, **{**known, **changes})


def part(name: str, state: PartState, effect: float, half: float, **more: Any) -> Part:
    interval = (effect - half, effect + half)
    return Part(name=name, state=state, effect=effect, interval=interval, **more)


def test_it_names_only_parts_that_act() -> None:
    parts = (
        part("augmentation", PartState.ACTS, -0.011, 0.004),
        part("penalty", PartState.IDLE, 0.0, 0.003),
    )
    text = write_verdict(SWEEP, answer(Claim.HELPS, parts=parts))
    assert text.startswith("Regularisation helps: trial 1 (l1, λ = 0.003, augmentation = noise)")
    assert (
        "lowers the test loss by 0.02000 (99 % interval -0.03 to -0.01, p = 0.001 (threshold 0.005)"
        in text
    )
    assert "8 new seeds and splits, 360 test samples)" in text
    assert "compared with the control, which has only early stopping" in text
    assert "Removing the noise augmentation changes the test loss by +0.011" in text
    assert "For the l1 penalty no effect is shown; above 0.003000 is excluded." in text
    assert "Early stopping alone changes the test loss by -0.01" in text
    assert "the control closes 25 % and the pick 50 %" in text


def test_parts_that_replace_each_other() -> None:
    parts = (
        part("augmentation", PartState.IDLE, 0.0, 0.003, suffices=True),
        part("penalty", PartState.UNCLEAR, 0.0, 0.01, suffices=True),
    )
    text = write_verdict(SWEEP, answer(Claim.HELPS, parts=parts))
    assert "The noise augmentation and the l1 penalty can replace each other" in text
    assert "it acts" not in text


def test_nothing_shown_says_what_is_excluded() -> None:
    text = write_verdict(
        SWEEP, answer(Claim.NOT_SHOWN, effect=0.0, interval=(-0.002, 0.002), excluded_above=0.002)
    )
    assert text.startswith("Not shown: no useful effect of trial 1")
    assert "improvements above 0.002000 are excluded" in text
    assert "helps" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"replicates_needed": 7, "limit": "replicates"}, "About 7 more replicates could decide"),
        ({"limit": "test_rows"}, "More data are needed"),
        ({"limit": "trainings"}, "The trainings of confirm are used up"),
    ],
)
def test_undecided_says_what_would_decide(changes: dict[str, Any], words: str) -> None:
    text = write_verdict(SWEEP, answer(Claim.UNDECIDED, interval=(-0.05, 0.01), **changes))
    assert text.startswith("Undecided: trial 1")
    assert words in text


def test_unconfirmed_says_that_nothing_was_tested() -> None:
    found = answer(
        Claim.UNCONFIRMED,
        metric="val/loss",
        effect=-0.1,
        interval=(-0.15, -0.05),
        arms=(),
        reason="confirm is off",
    )
    text = write_verdict(SWEEP, found)
    assert "looks better than the control by 0.1000 ± 0.05 in val/loss" in text
    assert "one training each, the best of 12, not tested" in text
    assert "Not tested: confirm is off." in text


def test_a_control_that_failed_for_good_is_named_with_its_reason() -> None:
    failed = replace(
        SWEEP.trials[0],
        role=Role.BASELINE,
        state=TrialState.FAILED,
        value=None,
        reason="its process died 9 times while the sweep ran",
    )
    sweep = replace(SWEEP, trials=(failed, *SWEEP.trials[1:]))
    found = answer(Claim.UNCONFIRMED, metric="val/loss", effect=None, interval=None, arms=())
    text = write_verdict(sweep, found)
    assert "no control completed, so there is no comparison" in text
    assert "The baseline (trial 0) failed: its process died 9 times while the sweep ran." in text


def test_a_contradiction_of_validation_and_test_comes_first() -> None:
    arms = (arm("baseline", 0.5, 0.5), arm("control", 0.5, 0.5), arm("pick", 0.53, 0.47))
    found = answer(Claim.UNDECIDED, effect=0.03, interval=(-0.01, 0.07), arms=arms)
    assert write_verdict(SWEEP, found).startswith("Validation and test samples disagree")
    small = answer(Claim.UNDECIDED, effect=0.0001, interval=(-0.01, 0.01), arms=arms)
    assert "disagree" not in write_verdict(SWEEP, small)


def test_on_one_split_every_claim_says_so() -> None:
    for claim in (Claim.HELPS, Claim.NOT_SHOWN, Claim.UNDECIDED):
        text = write_verdict(SWEEP, answer(claim, on="one_split"))
        assert "on this split" in text
        assert "new seeds and splits" not in text


def test_never_more_than_the_whole_gap_is_closed() -> None:
    arms = (
        arm("baseline", 0.5, 0.5, 0.1),
        arm("control", 0.5, 0.5, 0.1),
        arm("pick", 0.4, 0.4, -0.2),
    )
    text = write_verdict(SWEEP, answer(Claim.HELPS, arms=arms))
    assert "the pick 100 %" in text
    assert not any(f"{n} %" in text for n in range(101, 400))


def test_a_violated_constraint_is_said() -> None:
    assert "it violates the constraints" in write_verdict(
        SWEEP, answer(Claim.HELPS, feasible=False)
    )


def test_terminal_and_page_show_the_answer() -> None:
    parts = (part("augmentation", PartState.ACTS, -0.011, 0.004),)
    whole = Sweep(**{**vars(SWEEP), "answer": answer(Claim.HELPS, parts=parts)})
    data = build_report(whole, Importances({}, {}))
    text, page = shown(data), render(data)
    assert max(len(line) for line in text.splitlines()) <= 80
    for words in ("Replicates", "control", "the noise augmentation", "acts"):
        assert words in text
        assert words in page
    assert page.count("<svg") >= 3
