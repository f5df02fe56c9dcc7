"""After a constant number of epochs only the best trials go on, whenever they come."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest

from service.spec.pruners import pruners


def begin(mode: str = "minimize", **options: Any) -> optuna.Study:
    study = optuna.create_study(direction=mode)
    study.pruner = pruners.parse({"name": "top_k", **options}).build(max_epochs=10)
    return study


def report(trial: optuna.Trial, *values: float, since: int = 1) -> list[bool]:
    """Whether the trial is pruned, after each of these epochs."""
    found = []
    for epoch, value in enumerate(values, start=since):
        trial.report(value, epoch)
        found.append(trial.should_prune())
    return found


def test_every_trial_has_its_epochs_and_only_the_best_k_go_on() -> None:
    study = begin(epochs=2, k=2)
    trials = [study.ask() for _ in range(4)]
    answers = [report(t, 9, value) for t, value in zip(trials, (3, 2, 4, 1), strict=True)]
    assert answers == [[False, False], [False, False], [False, True], [False, False]]


def test_a_trial_that_was_overtaken_is_pruned_at_its_next_epoch_and_no_later_value_helps() -> None:
    study = begin(k=1)
    first, second = study.ask(), study.ask()
    assert report(first, 0.5, 0.4) == [False, False]
    assert report(second, 0.3) == [False]
    assert report(first, 0.1, since=3) == [True]
    assert report(second, 0.9, since=2) == [False]


def test_the_best_of_the_first_epochs_counts_and_high_values_are_good_where_the_spec_says_so() -> (
    None
):
    study = begin("maximize", epochs=2, k=1)
    first, second = study.ask(), study.ask()
    assert report(first, 0.8, 0.2) == [False, False]
    assert report(second, 0.5, 0.7) == [False, True]


def test_the_first_of_equal_trials_goes_on() -> None:
    study = begin(k=1)
    first, second = study.ask(), study.ask()
    assert report(second, 0.5) == [False]
    assert report(first, 0.5) == [False]
    assert report(second, 0.1, since=2) == [True]


@pytest.mark.parametrize("state", ["COMPLETE", "PRUNED", "FAIL"])
def test_a_trial_that_has_ended_keeps_its_place_unless_it_failed(state: str) -> None:
    study = begin(epochs=2, k=1)
    first, second = study.ask(), study.ask()
    report(first, 0.1, 0.1)
    told = 0.1 if state == "COMPLETE" else None
    study.tell(first, told, state=optuna.trial.TrialState[state])
    assert report(second, 0.2, 0.2) == [False, state != "FAIL"]


def test_one_that_was_complete_before_the_comparison_counts_with_what_it_had() -> None:
    study = begin(epochs=5, k=1)
    first, second = study.ask(), study.ask()
    report(first, 0.1)
    study.tell(first, 0.1)
    assert report(second, *[0.2] * 5) == [False, False, False, False, True]


def test_one_without_a_number_is_pruned_and_takes_no_place() -> None:
    study = begin(k=1)
    first, second = study.ask(), study.ask()
    assert report(first, math.nan) == [True]
    assert report(second, 5.0) == [False]


def test_at_most_k_of_many_go_on_at_once() -> None:
    study = begin(k=3)
    trials = [study.ask() for _ in range(50)]
    for trial in trials:
        report(trial, (trial.number * 37) % 50)
    going = [t.number for t in trials if not report(t, 1.0, since=2)[0]]
    assert sorted((n * 37) % 50 for n in going) == [0, 1, 2]
