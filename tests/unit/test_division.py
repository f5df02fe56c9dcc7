"""Stratified divisions: disjoint, complete, classes keep their shares, seeded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from trainables.config.data_info import Task
from trainables.data.division import Shares, hold_out, view
from trainables.data.raw import Indices, Raw
from trainables.data.splitters.base import Cases, Draw
from trainables.data.splitters.stratified import Stratified
from trainables.errors import DataError


def divided(y: np.ndarray, val: float, test: float, draw: Draw) -> list[Indices]:
    """Row numbers of train, validation and, if there is one, test."""
    rows, shares, splitter = np.arange(len(y)), Shares(val, test), Stratified()
    splitter.check(view(Raw(y, y), Task.CLASSIFICATION), 3 if test else 2)
    held: list[Indices] = []
    if test:
        stay, apart = hold_out(splitter, Raw(y, y), Task.CLASSIFICATION, test, draw)
        rows, held = rows[stay], [rows[apart]]
    rest = Raw(y[rows], y[rows])
    stay, apart = hold_out(splitter, rest, Task.CLASSIFICATION, shares.val_of_rest, draw)
    return [rows[stay], rows[apart], *held]


@given(
    rows=st.integers(60, 300),
    classes=st.integers(2, 4),
    val=st.floats(0.1, 0.4),
    test=st.sampled_from([0.0, 0.1, 0.3]),
    draw=st.builds(Draw, st.integers(0, 9), st.integers(0, 20)),
)
def test_every_row_is_in_one_split_and_classes_keep_their_shares(
    rows: int, classes: int, val: float, test: float, draw: Draw
) -> None:
    y = np.arange(rows) % classes
    parts, again = divided(y, val, test, draw), divided(y, val, test, draw)
    assert len(parts) == (3 if test else 2)
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    for part, same in zip(parts, again, strict=True):
        assert np.array_equal(part, same)
        counts = np.bincount(y[part], minlength=classes)
        assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize(
    ("y", "val", "test", "words"),
    [
        ([0] * 20, 0.2, 0.2, "only one class"),
        ([0] * 20 + [1], 0.2, 0.2, "too few"),
        ([0, 1] * 20, 0.6, 0.4, "sum below 1"),
        ([0, 0, 0, 1, 1, 1], 0.1, 0.1, "too few"),
    ],
)
def test_what_cannot_be_split_is_said(y: list[int], val: float, test: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        divided(np.array(y), val, test, Draw(0))


@given(
    y=st.lists(st.integers(0, 3), min_size=4, max_size=60),
    cut=st.floats(0.3, 0.7),
    share=st.floats(0.1, 0.4),
    seed=st.integers(0, 9),
)
def test_test_rows_of_divided_data_come_from_every_part_and_leave_each_class_a_row(
    y: list[int], cut: float, share: float, seed: int
) -> None:
    classes = np.array(y)
    parts = (np.arange(len(y)) >= cut * len(y)).astype(int)
    cases = view(Raw(classes, classes), Task.CLASSIFICATION)
    held = Stratified().set_aside(cases, parts, share, Draw(seed))
    assert np.array_equal(held, Stratified().set_aside(cases, parts, share, Draw(seed)))
    for part in (0, 1):
        rows = np.flatnonzero(parts == part)
        stay = np.setdiff1d(rows, held)
        assert set(classes[stay]) == set(classes[rows])
        most = len(rows) - len(set(classes[rows]))
        assert len(rows) - len(stay) == min(max(1, round(share * len(rows))), most)


@pytest.mark.parametrize("kind", ["no classes", "numbers", "names"])
def test_the_rows_are_those_of_scikit_learn(kind: str) -> None:
    random, count_divided = np.random.default_rng(1), 0
    for _ in range(200):
        count, share = int(random.integers(1, 120)), float(random.choice([0.5, 1 / 3, 0.2, 0.01]))
        names = np.array(list("abcde")) if kind == "names" else np.arange(5)
        classes = names[random.integers(0, random.integers(1, 6), count)]
        strata = None if kind == "no classes" else classes
        seed = int(random.integers(2**32))
        try:
            expected = train_test_split(
                np.arange(count), test_size=share, random_state=seed, stratify=strata
            )
        except ValueError:
            with pytest.raises(DataError, match=f"{count} rows are too few to split"):
                Stratified().hold_out(Cases(count, strata), share, Draw(seed))
            continue
        count_divided += 1
        found = Stratified().hold_out(Cases(count, strata), share, Draw(seed))
        assert [list(rows) for rows in found] == [list(rows) for rows in expected]
    assert count_divided > 100
