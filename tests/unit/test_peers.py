"""The race with other systems: what they draw is a point of our space."""

from __future__ import annotations

import optuna
import pytest

from search_spaces.values import Value
from tests.benchmarks.peers.problems import PROBLEMS
from tests.benchmarks.peers.space import read_point
from trainables.config.trial_parameters import read_point as check_point


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_peer_draws_points_of_the_spec(name: str) -> None:
    problem = PROBLEMS[name]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    penalties = set()
    for _ in range(30):
        trial = study.ask()
        problem.space.suggest(trial)
        point: dict[str, Value] = read_point(trial.params)
        check_point(problem.spec, {**problem.spec.neutral_point(), **point})
        assert set(problem.spec.space.find_active(point)) == point.keys()
        penalties.add(point["penalty"])
    assert penalties == {"none", "l1", "l2", "elastic_net"}
