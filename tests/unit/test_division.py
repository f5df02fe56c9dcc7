"""Splits: disjoint, complete, stratified, seeded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.data_info import Task
from trainables.data.division import split_indices
from trainables.errors import DataError


@given(
    rows=st.integers(60, 300),
    classes=st.integers(2, 4),
    val=st.floats(0.1, 0.4),
    test=st.sampled_from([0.0, 0.1, 0.3]),
    seed=st.integers(0, 9),
)
def test_every_row_is_in_one_split_and_classes_keep_their_shares(
    rows: int, classes: int, val: float, test: float, seed: int
) -> None:
    y = np.arange(rows) % classes
    parts = split_indices(y, Task.CLASSIFICATION, val=val, test=test, seed=seed)
    again = split_indices(y, Task.CLASSIFICATION, val=val, test=test, seed=seed)
    present = [p for p in parts if p is not None]
    assert (parts[2] is None) == (test == 0)
    assert sorted(np.concatenate(present).tolist()) == list(range(rows))
    for part, same in zip(present, (p for p in again if p is not None), strict=True):
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
        split_indices(np.array(y), Task.CLASSIFICATION, val=val, test=test, seed=0)
