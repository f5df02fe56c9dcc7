"""Effects of arms: both sources of error count, and intervals agree with p-values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from service.answer.effects import (
    PartState,
    compare_simultaneously,
    estimate,
    judge_parts,
    pair_replicates,
)

# Replicates' means 3, 2, 4; rows' means 2, 3, 4; residuals by hand below.
TABLE = np.array([[1.0, 3.0, 5.0], [2.0, 1.0, 3.0], [3.0, 5.0, 4.0]])


def drawn(
    replicates: int, rows: int, *, seed: int, of_replicates: float = 1.0, of_rows: float = 1.0
) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    return (
        of_replicates * random.standard_normal((replicates, 1))
        + of_rows * random.standard_normal((1, rows))
        + random.standard_normal((replicates, rows))
    )


def test_variance_is_that_of_the_analysis_of_variance_by_hand() -> None:
    # MS_replicates 3 · 1 = 3, MS_rows 3 · 1 = 3; the squares' total is 18, so MS_residual is
    # (18 - 6 - 6) / 4 = 1.5: variance (3 + 3 - 1.5) / 9 = 0.5, of rows (3 - 1.5) / 9 = 1/6.
    found = estimate(TABLE)
    assert found.mean == pytest.approx(3)
    assert found.se == pytest.approx(math.sqrt(0.5))
    assert found.se_rows == pytest.approx(math.sqrt(1 / 6))
    assert (found.replicates, found.rows) == (3, 3)


def test_an_interval_weighs_the_quantiles_of_replicates_and_rows() -> None:
    table = drawn(6, 30, seed=4)
    found = estimate(table)
    weight = 1 - (found.se_rows / found.se) ** 2
    assert 0.1 < weight < 0.9
    critical = weight * stats.t.ppf(0.975, 5) + (1 - weight) * stats.t.ppf(0.975, 29)
    high = found.mean + critical * found.se
    assert found.interval(0.95)[1] == pytest.approx(high)


def test_variance_is_never_below_what_replicates_or_rows_alone_give() -> None:
    for seed in range(50):
        table = drawn(5, 8, seed=seed, of_replicates=0.1, of_rows=0.1)
        found = estimate(table)
        assert found.se >= stats.sem(table.mean(axis=1)) * (1 - 1e-12)
        assert found.se >= stats.sem(table.mean(axis=0)) * (1 - 1e-12)


def test_replicates_means_alone_give_students_interval_and_p() -> None:
    means = np.array([[-0.3], [-0.5], [-0.1], [-0.4], [-0.2]])
    found = estimate(means)
    expected = stats.ttest_1samp(means[:, 0], 0.0, alternative="less")
    assert found.p_better() == pytest.approx(expected.pvalue)
    low, high = stats.t.interval(0.95, 4, -0.3, stats.sem(means[:, 0]))
    assert found.interval(0.95) == pytest.approx((low, high))
    assert found.on_these_rows
    assert found.se_rows == 0


def test_one_replicate_has_the_rows_error_and_no_p() -> None:
    row = drawn(1, 50, seed=0)
    found = estimate(row)
    assert found.se == pytest.approx(stats.sem(row[0]))
    assert found.p_better() is None


def test_fewer_than_five_replicates_have_no_p() -> None:
    table = drawn(5, 50, seed=0) - 100
    assert estimate(table[:4]).p_better() is None
    assert estimate(table).p_better() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, -1 / 360, -0.1])
@pytest.mark.parametrize("rows", [1, 60])
def test_equal_differences_have_no_p_and_an_infinite_interval(value: float, rows: int) -> None:
    table = np.full((6, rows), value)
    table[::2] *= 1 + 2e-16  # as rounding does
    found = estimate(table)
    assert found.p_better() is None
    assert found.interval(0.95) == (-math.inf, math.inf)


def test_overlap_adds_its_multiple_of_the_replicates_variance() -> None:
    means = np.array([[-0.3], [-0.5], [-0.1], [-0.4], [-0.2]])
    spread = np.var(means, ddof=1)
    assert estimate(means, overlap=0.25).se == pytest.approx(math.sqrt(spread * (1 / 5 + 1 / 4)))


tables = st.integers(0, 10_000).map(lambda seed: drawn(6, 9, seed=seed))


@given(table=tables, seed=st.integers(0, 100))
@settings(max_examples=50)
def test_the_order_of_replicates_and_of_rows_does_not_matter(
    table: NDArray[np.float64], seed: int
) -> None:
    random = np.random.default_rng(seed)
    shuffled = table[random.permutation(6)][:, random.permutation(9)]
    one, other = estimate(table), estimate(shuffled)
    assert (one.mean, one.se, one.se_rows) == pytest.approx(
        (other.mean, other.se, other.se_rows), abs=1e-12
    )


@given(table=tables, shift=st.floats(-2, 2), alpha=st.sampled_from([0.001, 0.005, 0.025]))
@settings(max_examples=200)
def test_p_is_below_alpha_exactly_if_the_interval_excludes_0_on_the_better_side(
    table: NDArray[np.float64], shift: float, alpha: float
) -> None:
    found = estimate(table + shift)
    p = found.p_better()
    assert p is not None
    assert (p < alpha) == (found.interval(1 - 2 * alpha)[1] < 0)


@given(
    seed=st.integers(0, 10_000),
    shifts=st.lists(st.floats(-2, 2), min_size=1, max_size=4),
    level=st.sampled_from([0.9, 0.95]),
)
@settings(max_examples=15)
def test_simultaneous_p_is_below_1_minus_level_exactly_if_the_interval_excludes_0(
    seed: int, shifts: list[float], level: float
) -> None:
    shared = drawn(6, 9, seed=seed)
    arms = {
        str(i): shared + drawn(6, 9, seed=seed + i + 1) + shift for i, shift in enumerate(shifts)
    }
    for part in compare_simultaneously(arms, level=level).values():
        low, high = part.interval
        assert part.p is not None
        assert (part.p < 1 - level) == (low > 0 or high < 0)


REPLICATES = 100


def balanced() -> dict[str, NDArray[np.float64]]:
    """Three arms with replicates' means of equal spread, correlated by 1/2: Dunnett's case."""
    random = np.random.default_rng(3)
    made = random.standard_normal((REPLICATES, 4))
    made -= made.mean(axis=0)
    made = np.linalg.qr(made)[0]  # four arms, orthogonal and of equal spread
    return {str(i): (made[:, i] - made[:, 3])[:, None] - 0.02 * (i + 1) for i in range(3)}


def test_max_t_is_the_multivariate_t_in_a_balanced_case() -> None:
    together = stats.multivariate_t(
        shape=np.full((3, 3), 0.5) + 0.5 * np.eye(3), df=REPLICATES - 1, seed=0
    )
    for part in compare_simultaneously(balanced(), level=0.95).values():
        effect = part.effect
        critical = (part.interval[1] - effect.mean) / effect.se
        for t, inside in (
            (critical, 0.95),
            (abs(effect.mean) / effect.se, 1 - (part.p or math.nan)),
        ):
            limits = np.full(3, t)
            assert together.cdf(limits, lower_limit=-limits) == pytest.approx(inside, abs=0.01)


def test_few_replicates_have_wider_intervals_than_a_shared_variance_would_give() -> None:
    arms = {str(i): drawn(5, 1, seed=i) for i in range(4)}
    found = compare_simultaneously(arms, level=0.95)["0"]
    critical = (found.interval[1] - found.effect.mean) / found.effect.se
    assert stats.t.ppf(0.975, 4) < critical < stats.t.ppf(1 - 0.025 / 4, 4)


def test_one_part_alone_is_not_corrected() -> None:
    table = drawn(6, 9, seed=1) - 1
    (part,) = compare_simultaneously({"penalty": table}, level=0.95).values()
    assert part.interval == pytest.approx(estimate(table).interval(0.95))
    p = estimate(table).p_better()
    assert p is not None
    assert part.p == pytest.approx(2 * p)


def test_a_part_without_spread_does_not_weigh_on_the_others() -> None:
    table = drawn(6, 9, seed=1) - 1
    found = compare_simultaneously({"a": table, "b": np.zeros((6, 9))}, level=0.95)
    assert found["a"].interval == pytest.approx(estimate(table).interval(0.95))
    assert found["b"].p is None
    assert list(found) == ["a", "b"]


def test_simultaneous_comparisons_repeat_and_do_not_depend_on_the_order_of_parts() -> None:
    arms = {name: drawn(6, 9, seed=i) for i, name in enumerate("abc")}
    backwards = dict(reversed(arms.items()))
    assert compare_simultaneously(arms) == compare_simultaneously(backwards)


def quiet(mean: float, spread: float = 0.001) -> NDArray[np.float64]:
    return drawn(8, 60, seed=round(abs(mean) * 1000)) * spread + mean


@pytest.mark.parametrize(
    ("table", "state"),
    [
        (quiet(0.05), PartState.ACTS),
        (quiet(0.0), PartState.IDLE),
        (quiet(0.002), PartState.IDLE),  # certain, and too small to matter
        (quiet(-0.05), PartState.UNCLEAR),  # its removal is better
        (quiet(0.0, spread=0.1), PartState.UNCLEAR),
        (np.zeros((8, 60)), PartState.IDLE),  # the same model without it
        (np.full((8, 60), 0.05), PartState.UNCLEAR),  # no spread to judge by
        (quiet(0.05)[:4], PartState.UNCLEAR),  # too few replicates
    ],
)
def test_parts_act_are_idle_or_are_unclear(table: NDArray[np.float64], state: PartState) -> None:
    assert judge_parts({"penalty": table}, min_effect=0.01)["penalty"].state is state


def test_a_failed_replicate_counts_against_its_arm() -> None:
    arm: list[Any] = [np.array([0.1, 0.2]), None, np.array([0.3, 0.1]), None]
    reference: list[Any] = [np.array([0.2, 0.5]), np.array([0.4, 0.4]), None, np.array([1, np.nan])]
    assert pair_replicates(arm, reference) == pytest.approx(
        np.array([[-0.1, -0.3], [0.0, 0.1], [-0.1, -0.4], [0.0, 0.0]])
    )


def test_costs_that_differ_by_rounding_are_equal() -> None:
    arm = [np.array([0.1, 0.3])] * 5
    reference = [np.array([0.1 * (1 + 2e-16), 0.2])] * 5
    assert pair_replicates(arm, reference)[0, 0] == 0.0


def test_no_finished_replicate_is_an_error() -> None:
    with pytest.raises(ValueError, match="finished"):
        pair_replicates([None], [None])


@pytest.mark.parametrize("table", [np.zeros(5), np.zeros((5, 0)), np.array([[math.nan]])])
def test_differences_of_another_shape_or_not_finite_are_an_error(table: Any) -> None:
    with pytest.raises(ValueError, match="differences"):
        estimate(table)
