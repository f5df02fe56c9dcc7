"""A trial goes on as long as an improvement that was seen before could make it the best one."""

from __future__ import annotations

import math
from typing import Any, Literal

import optuna
import pytest

from service.spec.pruners import pruners

SLOW = (1.0, 0.9, 0.8, 0.2)
"""It improves by 0.6 after the third epoch, and by 0.8 after the first."""


def begin(mode: Literal["minimize", "maximize"] = "minimize", **options: Any) -> optuna.Study:
    study = optuna.create_study(direction=mode)
    built = {"startup_trials": 1, "margin": 0, **options}
    study.pruner = pruners.parse({"name": "forecast", **built}).build(max_epochs=10)
    return study


def complete(study: optuna.Study, *values: float) -> None:
    trial = study.ask()
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
    study.tell(trial, values[-1])


def report(study: optuna.Study, *values: float) -> list[bool]:
    """Whether a new trial is pruned, after each of these epochs."""
    trial, found = study.ask(), []
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
        found.append(trial.should_prune())
    return found


def test_a_trial_is_pruned_when_the_largest_improvement_known_would_not_make_it_the_best() -> None:
    study = begin()
    complete(study, *SLOW)
    assert report(study, 1.1, 0.95) == [True, True]
    assert report(study, 0.99, 0.89, 0.79) == [False, False, False]


def test_what_one_trial_has_caught_up_another_may_catch_up_too() -> None:
    study = begin()
    complete(study, 0.3, 0.2, 0.1)
    assert report(study, 0.5) == [True]
    complete(study, 1.0, 0.9, 0.5)
    assert report(study, 0.5) == [False]


def test_pruned_trials_count_with_what_they_improved_and_are_not_the_best() -> None:
    study = begin()
    complete(study, 0.4, 0.4)
    assert report(study, 0.9) == [True]
    trial = study.ask()
    for epoch, value in enumerate((0.9, 0.3), start=1):
        trial.report(value, epoch)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert report(study, 0.9) == [False]
    assert report(study, 0.4 + 0.6 + 0.01) == [True]


def test_nothing_is_pruned_before_the_startup_trials_are_complete_and_the_warm_up_is_over() -> None:
    study = begin(startup_trials=2, warmup_epochs=2)
    complete(study, 0.1, 0.1)
    assert report(study, 9.0, 9.0) == [False, False]
    complete(study, 0.1, 0.1)
    assert report(study, 9.0, 9.0) == [False, True]


def test_the_margin_is_a_share_of_the_distance_from_the_best_to_the_median() -> None:
    study = begin(margin=0.5)
    for value in (0.0, 1.0, 2.0):
        complete(study, value)
    assert report(study, 0.49) == [False]
    assert report(study, 0.51) == [True]


def test_high_values_are_good_where_the_spec_says_so() -> None:
    study = begin("maximize")
    complete(study, *(1 - value for value in SLOW))
    assert report(study, -0.1) == [True]
    assert report(study, 0.01) == [False]


def test_the_best_value_so_far_counts_and_not_the_last() -> None:
    study = begin()
    complete(study, *SLOW)
    assert report(study, 0.5, 5.0, 5.0) == [False, False, False]


@pytest.mark.parametrize("values", [(math.nan,), (math.nan, math.nan)])
def test_one_without_a_number_is_pruned_and_none_is_compared_with_it(
    values: tuple[float, ...],
) -> None:
    study = begin()
    complete(study, *SLOW)
    assert report(study, *values) == [True] * len(values)
    assert report(study, 0.5) == [False]
