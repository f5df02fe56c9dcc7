"""The folds of a cross-validated search: which samples they have, and what cannot have any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from sklearn.model_selection import KFold, StratifiedKFold

from trainables.config.data import DataChoice
from trainables.config.splitters import splitters
from trainables.data.datasets import open_rows
from trainables.data.digest import digest_rows
from trainables.data.rows import DrawnRows, Rows
from trainables.data.splits import Split
from trainables.data.splitters.base import Cases, Draw, Splitter
from trainables.data.splitters.build import build_rule
from trainables.data.splitters.group import Group
from trainables.data.splitters.rolling_origin import RollingOrigin
from trainables.errors import DataError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DataChoice)
FUNCTIONS = """
import numpy as np
import torch
from torch.utils.data import TensorDataset, Dataset


def _part(rows):
    x = np.stack([rows, rows % 7], 1).astype(np.float32)
    return x, (rows % 2).astype(np.int64)


def _divided(number, of=5):
    rows = np.arange(60)
    held = rows[rows % of == number]
    return {"train": _part(np.setdiff1d(rows, held)), "val": _part(held)}


def by_fold(fold=0):
    if fold >= 5:
        raise IndexError(f"there is no fold {fold}")
    return _divided(fold)


def listed():
    return [_divided(number) for number in range(5)]


def by_seed(seed=0):
    rows = np.random.default_rng(seed).permutation(60)
    return {"train": _part(rows[:48]), "val": _part(rows[48:])}


def once():
    return _divided(0)


class Lazy(Dataset):
    def __init__(self, rows):
        self.x, self.y = _part(rows)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, position):
        return torch.tensor(self.x[position]), int(self.y[position])


def lazy_once():
    return {"train": Lazy(np.arange(48)), "val": Lazy(np.arange(48, 60))}


def lazy_by_fold(fold=0):
    rows = np.arange(60)
    return {"train": Lazy(rows[rows % 5 != fold]), "val": Lazy(rows[rows % 5 == fold])}
"""


def opened(config: Any) -> Rows:
    return open_rows(ADAPTER.validate_python(config))


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "fold_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    return "fold_functions"


def positions(split: Any) -> list[int]:
    """The first input of each sample, which numbers it."""
    return sorted(int(value) for value in np.asarray(split.x)[:, 0])


def test_folds_are_those_of_scikit_learn_with_the_data_seed() -> None:
    rows = opened({"name": "digits", "seed": 3})
    assert isinstance(rows, DrawnRows)
    expected = StratifiedKFold(5, shuffle=True, random_state=3).split(rows.pool.x, rows.pool.y)
    for fold, (_, held) in enumerate(expected):
        val = rows.divide_fold(fold, 5).val
        assert isinstance(val, Split)
        assert np.array_equal(val.y, rows.pool.y[np.sort(held)])


def test_numbers_are_divided_as_scikit_learn_divides_them() -> None:
    cases = Cases(103)
    made = build_rule(splitters.parse("stratified")).splitter.list_folds(cases, 4, 0.2, Draw(2))
    expected = [held for _, held in KFold(4, shuffle=True, random_state=2).split(np.zeros(103))]
    assert [list(held) for _, held in made] == [list(held) for held in expected]
    assert all(sorted([*stay, *held]) == list(range(103)) for stay, held in made)


def test_no_test_row_is_in_a_fold_and_each_other_row_is_validated_on_once() -> None:
    rows = opened({"name": "breast_cancer"})
    assert isinstance(rows, DrawnRows)
    assert rows.test is not None
    sizes = [len(rows.divide_fold(fold, 5).val) for fold in range(5)]  # type: ignore[arg-type]  # arrays
    assert sum(sizes) == len(rows.pool)
    assert max(sizes) - min(sizes) <= 2
    assert rows.check_folds(5) == {len(rows.pool) - size for size in sizes}


def test_groups_stay_together_in_folds() -> None:
    by = np.repeat(np.arange(12), 5)
    made = Group().list_folds(Cases(60, None, by), 4, 0.2, Draw(0))
    for stay, held in made:
        assert not set(by[stay]) & set(by[held])
    assert sorted(row for _, held in made for row in held) == list(range(60))


def test_folds_in_the_order_of_time_are_the_last_windows_each_after_its_training_rows() -> None:
    times = np.random.default_rng(0).permutation(200)
    made = RollingOrigin().list_folds(Cases(200, None, times), 3, 0.1, Draw(0))
    assert len(made) == 3
    for stay, held in made:
        assert times[stay].max() < times[held].min()
    windows = [(int(times[held].min()), int(times[held].max())) for _, held in made]
    assert windows == [(180, 199), (160, 179), (140, 159)]


def test_folds_of_the_data_are_for_replicates_and_those_of_the_search_others() -> None:
    rows = opened({"name": "digits", "split": {"name": "stratified", "folds": 5}})
    assert isinstance(rows, DrawnRows)
    searched = [rows.divide_fold(fold, 5).val.y.tolist() for fold in range(5)]  # type: ignore[union-attr]  # arrays
    replicated = [rows.divide(replicate).val.y.tolist() for replicate in range(10)]  # type: ignore[union-attr]  # arrays
    assert all(fold not in replicated for fold in searched)


def test_a_pool_is_divided_into_folds(functions: str) -> None:
    rows = opened({"name": f"{functions}:once", "redraw": "pooled"})
    found = [positions(rows.divide_fold(fold, 5).val) for fold in range(5)]
    every = [number for fold in found for number in fold]
    assert len(every) == len(set(every)) == 48  # 12 of 60 are the test's


@pytest.mark.parametrize("name", ["by_fold", "listed"])
def test_a_function_gives_its_folds(functions: str, name: str) -> None:
    rows = opened({"name": f"{functions}:{name}", "test": 0})
    assert rows.check_folds(5) == {48}
    found = [positions(rows.divide_fold(fold, 5).val) for fold in range(5)]
    assert found == [list(range(fold, 60, 5)) for fold in range(5)]
    assert digest_rows(rows)


def test_a_function_of_datasets_gives_its_folds(functions: str) -> None:
    rows = opened({"name": f"{functions}:lazy_by_fold", "test": 0})
    assert rows.check_folds(5) == {48}
    vals: list[Any] = [rows.divide_fold(fold, 5).val for fold in range(5)]
    found = [[int(x[0]) for x, _ in (val.dataset[i] for i in range(len(val)))] for val in vals]
    assert found == [list(range(fold, 60, 5)) for fold in range(5)]


@pytest.mark.parametrize(
    ("config", "folds", "words"),
    [
        ({"name": "once"}, 5, "these came divided: set `redraw: pooled`"),
        ({"name": "by_seed", "test": 0}, 5, "takes `seed`, of which each value gives another"),
        ({"name": "by_fold", "test": 0}, 6, "there is no fold 5"),
        ({"name": "listed", "test": 0}, 6, "listed returns 5 folds, fewer than 6"),
        ({"name": "lazy_once"}, 5, "returns a Dataset or a stream, whose samples are not divided"),
    ],
)
def test_what_cannot_be_divided_into_folds(
    functions: str, config: dict[str, Any], folds: int, words: str
) -> None:
    rows = opened({**config, "name": f"{functions}:{config['name']}"})
    with pytest.raises(DataError, match=words):
        rows.check_folds(folds)


class OnlyHoldsOut(Splitter):
    def hold_out(self, cases: Cases, share: float, draw: Draw) -> Any:
        raise NotImplementedError


CLASSES = np.array([0] * 9 + [1] * 4)


@pytest.mark.parametrize(
    ("splitter", "cases", "folds", "words"),
    [
        (build_rule(splitters.parse("stratified")).splitter, Cases(13, CLASSES), 5, "has 4 rows"),
        (build_rule(splitters.parse("stratified")).splitter, Cases(4), 5, "4 rows are too few for"),
        (Group(), Cases(6, None, np.array([0, 0, 1, 1, 2, 2])), 5, "there are 3 groups; 5 folds"),
        (
            Group(),
            Cases(5, np.array([0, 0, 0, 1, 1]), np.arange(5)),
            5,
            "no class has 5 rows for 5 folds; the most are 3",
        ),
        (RollingOrigin(), Cases(40, None, np.arange(40)), 5, "the times of the rows give 2"),
        (OnlyHoldsOut(), Cases(40), 5, "define `divide_into"),
    ],
)
def test_too_few_rows_are_refused_with_their_numbers(
    splitter: Splitter, cases: Cases, folds: int, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        splitter.list_folds(cases, folds, 0.25, Draw(0))


def test_a_fold_whose_training_part_lacks_a_class_is_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": np.arange(60.0), "g": np.repeat(np.arange(6), 10)})
    table["y"] = np.where(table["g"] == 2, "rare", np.where(table["a"] % 2 == 0, "one", "two"))
    path = tmp_path / "groups.csv"
    table.to_csv(path, index=False)
    config = {"name": "csv", "path": path, "target": "y", "test": 0}
    rows = opened({**config, "split": {"name": "group", "by": "g"}})
    with pytest.raises(DataError, match=r"fold \d of 6: the training part has no row of class"):
        rows.check_folds(6)
