"""Looks at the pick: α is never overspent, and decisions agree with intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from service.answer.conclude import find_limit
from service.answer.effects import Effect, estimate
from service.answer.interim_looks import (
    ALPHA,
    Decision,
    Limit,
    Spending,
    decide,
    replicates_needed,
    spend,
)
from service.spec.sections import LOOKS


def drawn(
    mean: float, *, replicates: int = 8, rows: int = 60, spread: float = 0.01, seed: int = 0
) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    table = random.standard_normal((replicates, 1)) + random.standard_normal((1, rows))
    return np.asarray(spread * (table - table.mean()) + mean)


def test_a_family_spends_a_fifth_of_the_whole_at_each_look() -> None:
    spent: list[Spending] = []
    for replicates in LOOKS:
        spent.append(spend(spent, "pick", replicates))
    assert [look.alpha for look in spent] == pytest.approx([ALPHA / 5] * 4)


def test_a_new_family_gets_only_what_is_unspent() -> None:
    spent = [spend([], "one", 5)]
    spent.append(spend(spent, "one", 8))
    new = spend(spent, "two", 5)
    assert new.alpha == pytest.approx((ALPHA - 2 * ALPHA / 5) / 5)
    again = spend([*spent, new], "two", 8)
    assert again.alpha == pytest.approx(new.alpha)


def test_a_look_that_was_had_costs_nothing_again() -> None:
    first = spend([], "one", 5)
    assert spend([first], "one", 5) is first


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(5, 60)), max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_order_of_looks_and_families_spends_more_than_alpha(
    looks: list[tuple[str, int]],
) -> None:
    spent: list[Spending] = []
    for family, replicates in looks:
        look = spend(spent, family, replicates)
        if look not in spent:
            spent.append(look)
    assert math.fsum(look.alpha for look in spent) <= ALPHA * (1 + 1e-12)
    assert all(look.alpha >= 0 for look in spent)


@pytest.mark.parametrize(
    ("table", "last", "decision"),
    [
        (drawn(-0.1), False, Decision.HELPS),
        (drawn(0.1), False, Decision.NOT_SHOWN),
        (drawn(0.0, spread=0.001), False, Decision.NOT_SHOWN),
        (drawn(-0.004, spread=0.0001), False, Decision.NOT_SHOWN),  # certain, and does not matter
        (drawn(0.0, spread=0.1), False, Decision.CONTINUE),
        (drawn(0.0, spread=0.1), True, Decision.UNDECIDED),
        (np.zeros((5, 60)), False, Decision.NOT_SHOWN),  # one and the same model
        (np.full((5, 60), -0.1), False, Decision.CONTINUE),  # no spread, no claim
        (np.full((5, 1), -0.1), True, Decision.UNDECIDED),
        (drawn(-0.1, replicates=4), False, Decision.CONTINUE),  # too few replicates
        (drawn(0.1, replicates=4), False, Decision.CONTINUE),
    ],
)
def test_a_look_decides(table: NDArray[np.float64], last: bool, decision: Decision) -> None:
    assert decide(table, alpha=0.005, min_effect=0.01, last=last).decision is decision


@given(seed=st.integers(0, 10_000), mean=st.floats(-0.05, 0.05))
@settings(max_examples=200, deadline=None)
def test_a_decision_agrees_with_its_interval(seed: int, mean: float) -> None:
    look = decide(drawn(mean, seed=seed), alpha=0.005, min_effect=0.01, last=False)
    low, high = look.interval
    if look.decision is Decision.HELPS:
        assert high < 0
        assert low <= -0.01
    elif look.decision is Decision.NOT_SHOWN:
        assert low > -0.01
        assert look.excluded_above == max(-low, 0.0)
    else:
        assert low <= -0.01
        assert high >= 0


def test_without_alpha_nothing_is_claimed() -> None:
    look = decide(drawn(-1.0), alpha=0.0, min_effect=0.01, last=False)
    assert look.decision is Decision.CONTINUE
    assert look.excluded_above is None


def effect(mean: float, *, of_replicates: float, of_rows: float, rows: int = 100) -> Effect:
    return Effect(
        mean=mean,
        se=math.hypot(of_replicates, of_rows),
        se_rows=of_rows,
        replicates=8,
        rows=rows,
    )


def test_replicates_that_are_missing_are_counted() -> None:
    found = replicates_needed(effect(-0.1, of_replicates=0.05, of_rows=0.0), 0.005, 0.01)
    needed = next(  # without the rows' error, Student's interval
        r for r in range(9, 100) if stats.t.ppf(0.995, r - 1) * 0.05 * math.sqrt(8 / r) < 0.1
    )
    assert found.limit is Limit.REPLICATES
    assert found.more_replicates == needed - 8


def test_a_small_effect_needs_what_excludes_those_that_matter() -> None:
    far, near = (
        replicates_needed(effect(mean, of_replicates=0.05, of_rows=0.0), 0.005, 0.06)
        for mean in (0.02, -0.03)
    )
    assert far.more_replicates is not None
    assert near.more_replicates is not None
    assert far.more_replicates < near.more_replicates  # 0.08 from -min_effect, 0.03 from both


def test_the_rows_are_the_limit_where_more_replicates_would_not_do() -> None:
    found = replicates_needed(effect(-0.1, of_replicates=0.01, of_rows=0.05), 0.005, 0.01)
    assert found.limit is Limit.ROWS
    assert found.more_replicates is None
    assert found.rows is not None
    # Half the width is 2.626 · 0.05 with infinitely many replicates: 100 · (0.1313 / 0.1)² rows.
    assert found.rows == 173


def test_an_effect_on_the_limit_cannot_be_decided() -> None:
    found = replicates_needed(effect(0.0, of_replicates=0.01, of_rows=0.01), 0.005, 0.0)
    assert (found.limit, found.more_replicates, found.rows) == (Limit.ROWS, None, None)


def test_the_replicates_asked_for_decide_when_they_come() -> None:
    table = drawn(-0.01, seed=3, spread=0.01)
    open_effect = estimate(table)
    found = replicates_needed(open_effect, 0.005, 0.005)
    assert found.more_replicates is not None
    more = np.tile(table, (1 + math.ceil(found.more_replicates / len(table)) + 1, 1))
    look = decide(more, alpha=0.005, min_effect=0.005, last=False)
    assert look.decision is Decision.HELPS


@pytest.mark.parametrize(
    ("limit", "rows", "unpaid", "found"),
    [
        (Limit.ROWS, 200, False, "test_rows"),
        (Limit.ROWS, 1, False, "replicates"),  # means only: there are no test samples
        (Limit.ROWS, 1, True, "trainings"),
        (Limit.REPLICATES, 200, False, "replicates"),
        (None, 200, True, "trainings"),
        (None, 200, False, None),
    ],
)
def test_test_samples_limit_only_where_there_are_some(
    limit: Limit | None, rows: int, unpaid: bool, found: str | None
) -> None:
    assert find_limit(limit, rows, unpaid=unpaid) == found
