"""Decisions of simulated sweeps whose truth is known; the long version is a benchmark."""

from __future__ import annotations

import pytest

from tests.benchmarks.calibration import (
    HIGHEST_RATE,
    LOWEST_COVERAGE,
    NULL,
    PAIRED,
    Rate,
    rate,
)
from tests.simulated_decisions import World, simulate


@pytest.mark.parametrize("cell", ["split variance 2", "rows' error 2", "extension"])
def test_equal_arms_are_seldom_said_to_help(cell: str) -> None:
    outcomes = simulate(NULL[cell], 400, seed=5)
    assert rate(outcome.claimed for outcome in outcomes).bound < HIGHEST_RATE
    assert rate(outcome.covered for outcome in outcomes).share >= LOWEST_COVERAGE


def test_a_large_effect_is_found_and_its_interval_holds_it() -> None:
    outcomes = simulate(World(effect=3 * PAIRED), 100, seed=5, idle_parts=2)
    assert rate(outcome.claimed for outcome in outcomes).share > 0.95
    assert rate(outcome.covered for outcome in outcomes).share >= LOWEST_COVERAGE
    judged = [outcome.parts for outcome in outcomes if outcome.parts is not None]
    assert len(judged) > 95
    assert rate(parts.true_acts for parts in judged).share > 0.8
    assert rate(parts.false_acts for parts in judged).share <= 0.08


def test_simulations_repeat() -> None:
    world = World(rows=10)
    assert simulate(world, 5, seed=1) == simulate(world, 5, seed=1)
    assert simulate(world, 5, seed=1) != simulate(world, 5, seed=2)


def test_bound_is_clopper_and_pearsons() -> None:
    assert Rate(hits=0, of=100).bound == pytest.approx(1 - 0.05 ** (1 / 100))
    assert Rate(hits=10, of=10).bound == 1
