"""A few of the benchmark's whole sweeps: nothing is claimed of nothing, what acts is named."""

from __future__ import annotations

import pytest

from tests.real_sweeps import run_one


@pytest.mark.parametrize("seed", [0, 1])
def test_a_space_that_cannot_act_is_not_said_to_help(seed: int) -> None:
    found = run_one(("inert space", seed))
    assert found.claim == "not_shown"
    assert not found.acting
    assert found.covered


@pytest.mark.parametrize("scenario", ["sparse, p > n", "small-n MLP"])
def test_the_part_that_acts_is_named_and_the_inert_one_is_not(scenario: str) -> None:
    found = run_one((scenario, 0))
    assert found.claim == "helps"
    assert found.acting == {"penalty"}
    assert found.truth < 0
    assert found.covered
