"""What a report says of a sweep, and that it fits where it is shown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from service.report.formatting import format_share
from service.report.page import render
from service.report.png import save_png
from service.report.report_data import build_report
from service.study.attributes import TrialAttributes
from service.study.importance import MIN_TRIALS, Importances
from service.study.records import OUT_OF_BUDGET, Trial, TrialState
from service.study.study import SweepStudy
from tests.reports import shown, sweep, trial

NONE = Importances({}, {})


WHOLE = sweep(
    trial(0, 0.5, 0.4),
    trial(1, 0.4, 0.1, penalty="elastic_net", l1_ratio=0.5, dropout=0.25, **{"lambda": 0.003}),
    trial(2, 0.6, 0.2, penalty="l2", **{"lambda": 0.01}),
    trial(3, 0.9, 0.1, TrialState.PRUNED, penalty="l2", **{"lambda": 0.1}),
    trial(4, 0.45, 0.3, augmentation="affine", augmentation_strength=0.5),
)


def test_the_best_is_compared_with_the_baseline() -> None:
    data = build_report(WHOLE, NONE)
    rows = {r.metric: r for r in data.comparison}
    assert (rows["gap/loss"].baseline, rows["gap/loss"].best) == (0.4, 0.1)
    assert rows["gap/loss"].closed == pytest.approx(0.75)
    assert rows["val/loss"].closed is None
    assert "looks better than the control by 0.1000 in val/loss" in data.verdict
    assert "one training each, the best of 3, not tested" in data.verdict


def test_a_share_of_nothing_has_no_sign() -> None:
    assert [format_share(share) for share in (-1e-9, 0.0, -0.04, -0.15)] == [
        *("0.0 %", "0.0 %", "-4.0 %", "-15 %")
    ]


def test_groups_name_their_best_trial_and_their_counts() -> None:
    groups = {g.name: g for g in build_report(WHOLE, NONE).by_penalty}
    assert list(groups) == ["none", "l2", "elastic_net"]
    assert (groups["l2"].complete, groups["l2"].pruned, groups["l2"].trial) == (1, 1, 2)
    assert groups["none"].trial == 4


def test_epochs_that_did_not_run_are_counted() -> None:
    savings = build_report(WHOLE, NONE).savings
    assert (savings.run, savings.pruning, savings.early_stopping) == (43, 17, 40)
    cut = replace(WHOLE.trials[3], reason=OUT_OF_BUDGET)
    assert build_report(sweep(*WHOLE.trials[:3], cut), NONE).savings.pruning == 0


def test_a_verdict_says_that_no_trial_looks_better() -> None:
    worse = sweep(trial(0, 0.5, 0.4), trial(1, 0.6, 0.1, penalty="l1", **{"lambda": 0.1}))
    assert "no trial looks better than the control" in build_report(worse, NONE).verdict
    assert "val/loss is worse by 0.1000." in build_report(worse, NONE).verdict
    equal = sweep(trial(0, 0.5, 0.4), trial(1, 0.5, 0.4))
    assert "val/loss is the same." in build_report(equal, NONE).verdict


@pytest.mark.parametrize(
    ("trials", "words"),
    [
        ((), "none was started"),
        ((trial(0, 0.5, 0.4),), "Only the baseline completed"),
        ((trial(1, 0.5, 0.4),), "no control completed"),
        ((trial(1, 0.5, 0.4, TrialState.FAILED),), "No trial completed (1 failed)"),
    ],
)
def test_a_sweep_without_an_answer_says_so(trials: tuple[Trial, ...], words: str) -> None:
    data = build_report(sweep(*trials), NONE)
    assert words in data.verdict
    assert words in " ".join(shown(data).split())
    assert words in render(data)


def test_no_line_is_wider_than_the_terminal() -> None:
    shares = Importances({"augmentation_strength": 0.7, "lambda": 0.3}, {"dropout": 1.0})
    text = shown(build_report(WHOLE, shares))
    assert max(len(line) for line in text.splitlines()) <= 80
    for name in ("elastic_net", "augmentation", "Epochs saved"):
        assert name in text


def test_the_page_has_every_section_and_needs_nothing_else() -> None:
    page = render(build_report(WHOLE, NONE))
    for words in ("Baseline", "By penalty", "By augmentation", "What mattered", "saved"):
        assert words in page
    assert page.count("<svg") >= 2
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page)
    assert "<script" not in page


def test_a_report_says_how_the_data_were_read() -> None:
    read = replace(WHOLE, reading=("inputs: table of 2 columns", "dropped: <b>3 of 9 rows"))
    data = build_report(read, NONE)
    assert "inputs: table of 2 columns\ndropped: <b>3 of 9 rows" in shown(data)
    assert "<li>dropped: &lt;b&gt;3 of 9 rows</li>" in render(data)
    assert "How the data were read" not in shown(build_report(WHOLE, NONE))


def test_a_name_cannot_break_the_page() -> None:
    page = render(build_report(replace(WHOLE, name="<b>bold</b>"), NONE))
    assert "<b>bold</b>" not in page


def test_the_picture_is_a_picture(tmp_path: Path) -> None:
    save_png(build_report(WHOLE, NONE), tmp_path / "plots.png")
    assert (tmp_path / "plots.png").read_bytes().startswith(b"\x89PNG")


def test_importance_finds_the_parameter_that_matters() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(60):
        asked = study.ask()
        x = asked.suggest_float("matters", 0, 1)
        asked.suggest_float("idle", 0, 1)
        TrialAttributes(best={"gap/loss": 1 - x}).store(asked)
        if number % 3:
            study.tell(asked, x)
        else:
            asked.report(x, 1)
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
    found = SweepStudy(study).importances()
    assert found.objective["matters"] > 0.8
    assert found.gap["matters"] > 0.8
    few = optuna.create_study()
    few.add_trials(study.get_trials()[: MIN_TRIALS - 1])
    assert SweepStudy(few).importances() == NONE


def test_parts_without_any_effect_are_marked_in_every_view() -> None:
    parts = ("averaging", "early_stopping")
    best = replace(trial(1, 0.4, 0.1, penalty="l2", swa=0.2, **{"lambda": 0.1}), not_acting=parts)
    other = replace(trial(2, 0.6, 0.1, penalty="l1"), not_acting=("averaging",))
    marked = sweep(trial(0, 0.5, 0.4), best, other, trial(3, 0.7, 0.1, penalty="none"))
    data = build_report(marked, NONE)
    assert data.not_acting == {"averaging": (1, 2), "early_stopping": (1,)}
    text, page = shown(data, 100), render(data)
    for view in (" ".join(text.split()), " ".join(page.split())):
        assert "l2, λ = 0.1, swa = 0.2; no effect: averaging" in view
        assert "* trial 1: no effect of averaging" in view
        assert "no effect of averaging, early" not in view  # it is no parameter
        assert "* trial 2: no effect of averaging" in view
        assert "Parts without any effect on what a trial kept" in view
        assert "trials 1 and 2" in view
    rows = [line for line in text.splitlines() if line.startswith(("l2 ", "l1 ", "none "))]
    assert [line.rstrip()[-2:] for line in rows] == [
        " 3",
        "2*",
        "1*",
        "1*",
    ]  # the last by augmentation
    assert "no effect: averaging" in data.verdict
    assert "no effect" not in shown(build_report(WHOLE, NONE))
