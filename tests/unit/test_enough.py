"""A search ends when further trials would gain less than its confirmation looks for."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from service.study.enough import AT_LEAST, Enough, expect_best, expect_gain
from service.study.records import Role
from service.study.session import StudySession
from service.study.study import SweepStudy
from tests.simulated import Simulation, World, add_effects
from tests.specs import parse
from tests.studies import new_study

BUDGET = 60


def test_the_expected_best_of_a_subset_is_the_mean_over_all_subsets() -> None:
    costs = sorted([0.9, 0.2, 0.5, 0.7, 0.4, 0.1])
    for size in range(1, 7):
        found = [min(some) for some in itertools.combinations(costs, size)]
        assert expect_best(costs, size) == pytest.approx(sum(found) / len(found))
    assert expect_gain([0.5] * 9, 10) == 0.0


def test_the_expected_gain_is_no_less_than_what_further_trials_gain() -> None:
    """Over many searches, whatever the density of costs near the best one."""
    rng = np.random.default_rng(0)
    for power in (0.5, 1.0, 3.0):
        expected, gained = [], []
        for _ in range(400):
            costs = rng.random(80) ** power
            expected.append(expect_gain(sorted(costs[:40].tolist()), 40))
            gained.append(costs[:40].min() - costs.min())
        error = np.std(np.subtract(expected, gained)) / 20
        assert np.mean(expected) > np.mean(gained) - 3 * error


def begin(study: SweepStudy, budget: int = BUDGET, **spec: Any) -> StudySession:
    parsed = parse(**{"search": {"stop": "auto"}, **spec})
    enough = Enough.of(parsed, study)
    made = StudySession(study, parsed.space, metric="val/loss", max_epochs=5, enough=enough)
    made.prepare(budget, [(Role.BASELINE, {"dropout": 0.0})])
    return made


def train(s: StudySession, at_most: int = 1000, spread: float = 0.001) -> int:
    """Train what is handed out; costs differ by at most the spread."""
    for count in range(at_most):
        asked = s.ask()
        if asked is None:
            return count
        value = 0.5 + spread * ((asked.number * 37) % 97) / 97
        if asked.number % 3 == 2:
            s.report(asked.number, 1, {"val/loss": value})
            s.prune(asked.number)
        else:
            s.complete(asked.number, {"val/loss": value}, 5, {"val/loss": value})
    return at_most


def test_it_ends_when_the_gain_is_small_and_says_why() -> None:
    study = SweepStudy(new_study())
    s = begin(study)
    assert train(s) == 1 + AT_LEAST
    found = study.attributes
    assert found.search_end is not None
    assert found.search_end.startswith("39 more trials would improve val/loss by less than")
    assert found.search_end.endswith("looks for 0.01, more than four times as much")
    assert found.unused == 39
    assert s.exhausted
    assert not s.unfinished


def test_it_goes_on_where_much_may_be_gained_or_the_rule_is_off() -> None:
    assert train(begin(SweepStudy(new_study())), spread=500.0) == BUDGET
    assert train(begin(SweepStudy(new_study()), search={"stop": False})) == BUDGET
    fine = {"confirm": {"min_effect": 1e-7}}
    assert train(begin(SweepStudy(new_study()), **fine)) == BUDGET


def test_a_resumed_search_ends_where_an_undisturbed_one_does() -> None:
    study = SweepStudy(new_study())
    assert train(begin(study), at_most=15) == 15
    assert train(begin(study)) == 1 + AT_LEAST - 15
    reason = study.attributes.search_end
    again = begin(study)
    assert again.ask() is None
    assert study.attributes.search_end == reason


def test_an_extended_search_has_all_of_its_new_trials() -> None:
    study = SweepStudy(new_study())
    s = begin(study)
    train(s)
    s.extend(s.budget + 5)
    assert study.attributes.unused == 0
    assert train(s) == BUDGET + 5 - (1 + AT_LEAST)


def test_what_is_left_goes_to_the_confirmation() -> None:
    world = World(add_effects(dropout=-0.001), seed_sd=0.01, row_sd=0.5)
    made = Simulation(world, trials=BUDGET, most=25, confirm={"trainings": 30})
    made.run()
    attributes = made.study.attributes
    assert attributes.unused == BUDGET - 25
    assert made.planner.trainings == 30 + attributes.unused
    assert made.count_replicates() > 30
