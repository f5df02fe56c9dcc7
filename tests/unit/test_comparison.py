"""Is the answer real: what new seeds say, and when they say that nothing helped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest
from scipy import stats

from service.report.comparison import compare_finalists, compute_interval, run_paired_test
from service.report.page import render
from service.report.report_data import build_report
from service.run.sweep_control import Control
from service.study.confirmation import Confirmation
from service.study.importance import Importances
from service.study.ranking import Ranking
from service.study.records import Role, Trial, TrialState
from service.study.session import Decision, StudySession
from service.study.study import SweepStudy
from service.sweep.sweep_record import Sweep
from tests.reports import shown, sweep, trial
from tests.studies import NEUTRAL, SPACE, new_study

NONE = Importances({}, {})


def repeated(number: int, losses: list[float], gap: float) -> list[Trial]:
    return [
        replace(
            trial(100 + 10 * number + i, loss, gap),
            role=Role.CONFIRM,
            confirms=number,
            seed=i + 1,
        )
        for i, loss in enumerate(losses)
    ]


def made(one: list[float], two: list[float], *, one_standard_error: bool = False) -> Sweep:
    finalists = (trial(1, 0.40, 0.1, penalty="l1"), trial(2, 0.41, 0.05, penalty="l2"))
    repeats = [
        *repeated(0, [0.50, 0.52, 0.49, 0.51, 0.50], 0.4),
        *repeated(1, one, 0.1),
        *repeated(2, two, 0.05),
    ]
    whole = sweep(trial(0, 0.5, 0.4), *finalists, *repeats)
    return replace(whole, ranking=Ranking("val/loss", "min", one_standard_error))


GOOD, NOISE = [0.41, 0.44, 0.40, 0.42, 0.42], [0.45, 0.56, 0.47, 0.53, 0.55]


def test_an_interval_is_students() -> None:
    values = [0.3, 0.5, 0.4, 0.45]
    found = compute_interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.mean - (found.half or 0), found.mean + (found.half or 0)) == pytest.approx(
        (low, high)
    )
    assert compute_interval([0.3]).half is None


def test_the_paired_test_is_scipys_and_says_which() -> None:
    rng = np.random.default_rng(0)
    normal = list(rng.normal(0.1, 1, 8))
    assert run_paired_test(normal) == (
        "paired t-test",
        pytest.approx(stats.ttest_1samp(normal, 0)[1]),
    )
    skewed = [0.1, 0.11, 0.12, 0.1, 0.13, 0.11, 9.0]
    assert run_paired_test(skewed)[0] == "Wilcoxon signed-rank test"
    assert run_paired_test([0.1, 0.1])[1] == 0.0
    assert run_paired_test([0.0, 0.0])[1] == 1.0


def test_a_finalist_that_wins_with_every_seed_is_confirmed() -> None:
    rows = compare_finalists(made(GOOD, NOISE))
    assert [r.trial.number for r in rows] == [0, 1, 2]
    first, second = rows[1].comparison, rows[2].comparison
    assert first is not None
    assert second is not None
    assert first.better
    assert not second.better
    assert first.difference.mean == pytest.approx(-0.086)
    assert rows[1].optimism == pytest.approx(0.018)


def test_p_is_corrected_for_the_number_of_finalists() -> None:
    one = compare_finalists(made(GOOD, NOISE))[1].comparison
    differences = np.subtract(GOOD, [0.50, 0.52, 0.49, 0.51, 0.50])
    assert one is not None
    raw = stats.ttest_1samp(differences, 0).pvalue
    assert one.p == pytest.approx(min(1.0, 2 * raw), rel=1e-6)


def test_nothing_helped_is_said_where_nothing_did() -> None:
    data = build_report(made(NOISE, NOISE), NONE)
    assert "No regulariser helped here" in data.verdict
    assert "No regulariser helped here" in " ".join(shown(data).split())
    assert "No regulariser helped here" in render(data)


def test_what_is_confirmed_is_said_and_fits_the_terminal() -> None:
    data = build_report(made(GOOD, NOISE), NONE)
    assert data.verdict.startswith("Confirmed over 5 new seeds: trial 1 (l1)")
    assert max(len(line) for line in shown(data).splitlines()) <= 80


def test_the_best_is_the_best_mean_or_the_smallest_gap_within_one_standard_error() -> None:
    close = [v + 0.001 for v in GOOD]
    for rule, expected in ((False, 1), (True, 2)):
        best = made(GOOD, close, one_standard_error=rule).best
        assert best is not None
        assert best.number == expected
    apart = made(GOOD, [v + 0.05 for v in GOOD], one_standard_error=True).best
    assert apart is not None
    assert apart.number == 1


def test_after_the_search_the_baseline_and_the_best_run_again_with_each_seed() -> None:
    study = new_study(optuna.pruners.ThresholdPruner(upper=0.0))
    s = StudySession(
        SweepStudy(study),
        SPACE,
        metric="val/loss",
        max_epochs=5,
        confirm=Confirmation(1, range(7, 9)),
    )
    s.prepare(3, [(Role.BASELINE, NEUTRAL)])
    assert s.planned == 7
    asked = [s.ask() for _ in range(3)]
    assert s.ask() is None
    assert not s.exhausted
    for assignment, value in zip(asked, (0.5, 0.2, 0.4), strict=True):
        assert assignment is not None
        s.complete(assignment.number, {"val/loss": value}, 5)
    again = [s.ask() for _ in range(4)]
    assert s.ask() is None
    assert [(a.seed, a.baseline) for a in again if a] == [
        (7, True),
        (7, False),
        (8, True),
        (8, False),
    ]
    assert again[1] is not None
    assert again[1].params == s.trials()[1].params
    for a in again:
        assert a is not None
        assert s.report(a.number, 1, {"val/loss": 9.0}) is Decision.CONTINUE
        s.complete(a.number, {"val/loss": 0.3}, 5)
    assert s.exhausted
    assert len(s.trials()) == 7
    assert [t.confirms for t in s.trials() if t.state is TrialState.COMPLETE][3:] == [0, 1, 0, 1]


def test_confirmations_that_were_interrupted_go_on_and_none_is_queued_twice() -> None:
    study = new_study()

    def opened() -> StudySession:
        made = StudySession(
            SweepStudy(study),
            SPACE,
            metric="val/loss",
            max_epochs=5,
            confirm=Confirmation(1, range(1, 3)),
        )
        made.prepare(2, [(Role.BASELINE, NEUTRAL)])
        return made

    s = opened()
    for value in (0.5, 0.2):
        assignment = s.ask()
        assert assignment is not None
        s.complete(assignment.number, {"val/loss": value}, 5)
    running = s.ask()
    assert running is not None
    s.interrupt()
    s = opened()
    numbers = []
    while (assignment := s.ask()) is not None:
        numbers.append((assignment.number, assignment.seed, assignment.baseline))
        s.complete(assignment.number, {"val/loss": 0.3}, 5)
    assert numbers == [(2, 1, True), (3, 1, False), (4, 2, True), (5, 2, False)]
    assert s.exhausted


def test_of_a_time_budget_so_much_is_left_as_the_confirmations_will_take() -> None:
    clock = iter([0.0, 99.0, 59.0, 60.0, 60.0])
    control = Control(100.0, confirmations=6, slots=2, clock=lambda: next(clock))
    assert not control.is_search_over()
    for seconds in (9.0, 11.0):
        control.ended(replace(trial(1, 0.4, 0.1), seconds=seconds))
    assert not control.is_search_over()
    assert control.is_search_over()
    assert control.reason is None
