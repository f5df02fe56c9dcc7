"""A change of the samples is noticed, and its kind is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from trainables.config.data_info import Task
from trainables.config.splitters import StratifiedSplit
from trainables.data.digest import digest_rows
from trainables.data.raw import Raw
from trainables.data.rows import DrawnRows
from trainables.data.splitters.build import build_rule

X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
Y = np.arange(40) % 2
TABLE = pd.DataFrame({"a": X[:, 0], "b": [f"é{i % 3}" for i in range(40)]})


def _rows(raw: Raw, test: int = 10) -> DrawnRows:
    pool, aside = raw.rows(np.arange(test, len(raw))), raw.rows(np.arange(test))
    splitter = build_rule(StratifiedSplit()).splitter
    return DrawnRows(pool, aside, splitter, 0.2, 0, Task.CLASSIFICATION)


def _differ(first: Raw, second: Raw) -> list[str]:
    one, two = digest_rows(_rows(first)), digest_rows(_rows(second))
    return [name for name in one if one[name] != two[name]]


def _changed(values: np.ndarray) -> np.ndarray:
    made = values.copy()
    made[7] = made[8] + 1
    return made


@pytest.mark.parametrize("x", [X, TABLE, X.astype(np.float64), (X > 0), X.reshape(40, 5, 1)])
def test_equal_samples_have_equal_digests(x: np.ndarray | pd.DataFrame) -> None:
    assert _differ(Raw(x, Y), Raw(x.copy(), Y.copy())) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda: Raw(_changed(X), Y), ["inputs", "targets", "order"]),
        (lambda: Raw(X, Y[::-1].copy()), ["targets", "order"]),
        (lambda: Raw(X, np.roll(Y, 1)), ["targets", "order"]),
        (lambda: Raw(X[::-1], Y[::-1]), ["order"]),
        (lambda: Raw(X[:, ::-1], Y), ["inputs", "targets", "order"]),
        (lambda: Raw(X.reshape(40, 1, 5), Y), ["inputs"]),
    ],
)
def test_the_kind_of_a_change_is_known(change: Callable[[], Raw], found: list[str]) -> None:
    assert _differ(Raw(X, Y), change()) == found


def test_another_text_or_another_column_of_a_table_is_noticed() -> None:
    other = TABLE.copy()
    other.loc[3, "b"] = "x"
    assert "inputs" in _differ(Raw(TABLE, Y), Raw(other, Y))
    assert "inputs" in _differ(Raw(TABLE, Y), Raw(TABLE.rename(columns={"a": "c"}), Y))


def test_other_groups_are_noticed() -> None:
    groups = np.array([f"patient {i // 4}" for i in range(40)])
    assert _differ(Raw(X, Y, groups), Raw(X, Y, np.roll(groups, 1))) == ["groups"]


def test_a_change_in_any_array_of_a_nest_is_noticed() -> None:
    nest = {"ids": np.arange(80).reshape(40, 2), "numbers": (X, X[:, 0])}
    assert _differ(Raw(nest, Y), Raw(dict(nest), Y)) == []
    other = {**nest, "numbers": (X, _changed(X[:, 0]))}
    assert _differ(Raw(nest, Y), Raw(other, Y)) == ["inputs", "targets", "order"]
    assert _differ(Raw(X, {"a": Y, "b": X}), Raw(X, {"a": Y, "b": _changed(X)})) == [
        "targets",
        "order",
    ]
