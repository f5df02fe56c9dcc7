"""A sampler is seeded whatever generators it has, and asked alike after any other draws."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from service.spec.reseed import reseed
from service.spec.samplers import samplers
from service.study.seeded_sampler import ResumableSampler, seed_trial


def generators() -> Any:
    inner = SimpleNamespace(python=random.Random(), many=[np.random.default_rng()])
    made = SimpleNamespace(
        inner=inner, by_name={"old": np.random.RandomState()}, torch=torch.Generator(), name="x"
    )
    made.itself = made
    return made


def draw(made: Any) -> list[float]:
    return [
        made.inner.python.random(),
        made.inner.many[0].random(),
        made.by_name["old"].rand(),
        float(torch.rand(1, generator=made.torch)),
    ]


def test_every_generator_is_seeded_with_its_own_seed() -> None:
    one, other = generators(), generators()
    draw(one)
    reseed(one, 7)
    reseed(other, 7)
    drawn = draw(one)
    assert drawn == draw(other)
    assert len(set(drawn)) == len(drawn)
    reseed(one, 8)
    assert draw(one) != drawn


def test_trials_of_one_sweep_have_different_seeds_and_so_do_sweeps() -> None:
    seeds = {seed_trial(seed, number) for seed in range(20) for number in range(50)}
    assert len(seeds) == 1000


class Counting(optuna.samplers.RandomSampler):
    """A user's sampler that counts in memory what it was asked."""

    asked = 0

    def before_trial(self, study: Any, trial: Any) -> None:
        self.asked += 1


def suggestions(sampler: ResumableSampler, known: Sequence[float], count: int) -> list[float]:
    """What is suggested after ``known``, of which each is a completed trial."""
    study = optuna.create_study(sampler=sampler)
    for value in known:
        space = {"x": optuna.distributions.FloatDistribution(0, 1)}
        study.add_trial(optuna.create_trial(params={"x": value}, distributions=space, value=value))
    found = []
    for _ in range(count):
        trial = study.ask()
        found.append(trial.suggest_float("x", 0, 1))
        study.tell(trial, found[-1])
    return found


@pytest.mark.parametrize("name", ["random", "tpe", "qmc", f"{__name__}:Counting"])
def test_a_later_process_suggests_what_this_one_would_have(name: str) -> None:
    config = samplers.parse(name)
    whole = suggestions(ResumableSampler(config, 3), [], 16)
    assert len(set(whole)) == 16
    assert suggestions(ResumableSampler(config, 3), whole[:12], 4) == whole[12:]
    assert suggestions(ResumableSampler(config, 4), [], 16) != whole


def test_a_sampler_of_the_users_goes_on_existing_from_trial_to_trial() -> None:
    sampler = ResumableSampler(samplers.parse(f"{__name__}:Counting"), 3)
    suggestions(sampler, [], 4)
    assert isinstance(sampler._inner, Counting)
    assert sampler._inner.asked == 4
