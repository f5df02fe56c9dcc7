"""What mattered: chance is not shown, the parameter that acts is, with an interval."""

from __future__ import annotations

import time

import numpy as np
import optuna
import pytest
from scipy.stats import rankdata

from service.study.attributes import TrialAttributes
from service.study.importance import MIN_TRIALS, Importances, importances, rank
from service.study.records import Role

NOTHING = Importances({}, {})


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def searched(trials: int, *, seed: int, dropout: float = 0.0, lam: float = 0.0) -> optuna.Study:
    """Noise of standard deviation 1, and what dropout and λ do to the objective and the gap."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    random = np.random.default_rng(seed)
    for _ in range(trials):
        asked = study.ask()
        value = random.normal()
        if asked.suggest_categorical("penalty", ["none", "l1", "l2"]) != "none":
            value += lam * np.log10(asked.suggest_float("lambda", 1e-6, 1e-2, log=True))
        value += dropout * asked.suggest_float("dropout", 0, 0.7)
        if asked.suggest_categorical("augmentation", ["none", "noise"]) != "none":
            asked.suggest_float("strength", 0, 1)
        TrialAttributes(best={"gap/loss": value + 0.1 * random.normal()}).store(asked)
        study.tell(asked, value)
    return study


def test_noise_seldom_shows_anything() -> None:
    found = [importances(searched(40, seed=seed)) for seed in range(60)]
    # At 5 % each, more than 8 of 60 have a chance of 0.3 %.
    assert sum(bool(one.objective) for one in found) <= 8
    assert sum(bool(one.gap) for one in found) <= 8


def test_the_parameter_that_acts_is_shown_and_seldom_another() -> None:
    found = [importances(searched(40, seed=seed, dropout=5)) for seed in range(20)]
    assert sum("dropout" in one.objective for one in found) >= 19
    assert sum(bool(set(one.objective) - {"dropout"}) for one in found) <= 4
    shares = [one.objective["dropout"] for one in found if "dropout" in one.objective]
    assert min(shares) > 0.5
    for one in found:
        for name, share in one.objective.items():
            low, high = one.objective_intervals[name]
            assert 0 <= low <= high <= 1
            assert low - 0.1 <= share <= high + 0.1


def test_a_parameter_of_some_trials_is_judged_among_them() -> None:
    found = importances(searched(120, seed=3, lam=1.5))
    assert "lambda" in found.objective
    assert "strength" not in found.objective


def test_importances_repeat() -> None:
    study = searched(60, seed=1, dropout=5)
    assert importances(study) == importances(study)


def test_too_few_trials_show_nothing() -> None:
    assert importances(searched(MIN_TRIALS - 1, seed=1, dropout=100)) == NOTHING
    assert importances(searched(MIN_TRIALS, seed=1, dropout=100)).objective


def test_equal_values_show_nothing() -> None:
    study = optuna.create_study()
    for _ in range(MIN_TRIALS):
        asked = study.ask()
        asked.suggest_float("x", 0, 1)
        study.tell(asked, 1.0)
    assert importances(study) == NOTHING


def with_gaps_of_bad_trials(*, baseline: float | None) -> optuna.Study:
    """The gap falls with λ, but only where the loss is far above the others'."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    random = np.random.default_rng(0)
    if baseline is not None:
        study.enqueue_trial({"lambda": 0.0})
        asked = study.ask()
        asked.suggest_float("lambda", 0, 1)
        TrialAttributes(role=Role.BASELINE, best={"gap/loss": 0.0}).store(asked)
        study.tell(asked, baseline)
    for _ in range(80):
        asked = study.ask()
        lam = asked.suggest_float("lambda", 0, 1)
        bad = lam > 0.5
        gap = random.normal() - 10 * lam * bad
        TrialAttributes(best={"gap/loss": gap}).store(asked)
        study.tell(asked, 10 * bad + random.random())
    return study


@pytest.mark.parametrize("baseline", [5.0, 20.0])
def test_the_direction_of_the_objective_does_not_change_what_mattered(baseline: float) -> None:
    study = with_gaps_of_bad_trials(baseline=baseline)
    maximised = optuna.create_study(direction="maximize")
    for trial in study.get_trials():
        assert trial.value is not None
        trial.value = -trial.value
        maximised.add_trial(trial)
    assert importances(maximised) == importances(study)


@pytest.mark.parametrize("baseline", [5.0, None])
def test_the_gap_of_a_trial_with_a_bad_loss_does_not_count(baseline: float | None) -> None:
    found = importances(with_gaps_of_bad_trials(baseline=baseline))
    assert list(found.objective) == ["lambda"]
    assert found.gap == {}


def test_the_gap_counts_where_the_loss_is_as_good_as_the_baselines() -> None:
    found = importances(with_gaps_of_bad_trials(baseline=20.0))
    assert list(found.gap) == ["lambda"]


def test_the_baseline_and_repeats_are_not_among_the_searched() -> None:
    study = searched(60, seed=1, dropout=5)
    before = importances(study)
    for role in (Role.BASELINE, Role.CONFIRM):
        asked = study.ask()
        asked.suggest_categorical("penalty", ["none", "l1", "l2"])
        TrialAttributes(role=role, best={"gap/loss": 100.0}).store(asked)
        study.tell(asked, 100.0)
    assert importances(study).objective == before.objective


def test_two_hundred_trials_take_a_second() -> None:
    study = searched(200, seed=0)
    started = time.process_time()
    importances(study)
    assert time.process_time() - started < 1


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert rank([0.5, 0.1, 0.5, 0.9, 0.5]).tolist() == [3.0, 1.0, 3.0, 5.0, 3.0]
    drawn = np.random.default_rng(0).integers(0, 8, (50, 30)) / 3
    for values in drawn:
        assert (rank(values.tolist()) == rankdata(values)).all()
