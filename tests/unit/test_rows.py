"""Divisions of a sweep's rows: one test part, other training and validation parts, anew."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split

from tests.documents import example
from trainables.config.data import DataChoice
from trainables.config.data_info import Task
from trainables.data.datasets import load, open_rows
from trainables.data.encoding import prepare
from trainables.data.raw import Raw
from trainables.data.rows import Rows
from trainables.data.splits import Split, Splits
from trainables.errors import ContractError, DataError, TrainableError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DataChoice)
REPLICATES = range(6)


def opened(config: Any) -> Rows:
    return open_rows(ADAPTER.validate_python(config))


def ids(split: Split | None, column: int = 0) -> set[float]:
    """Which samples a split has: every sample of these tests has a number in a column."""
    assert split is not None
    return set(split.x[:, column].tolist())


def equal(one: Splits, other: Splits) -> bool:
    parts = zip((one.train, one.val, one.test), (other.train, other.val, other.test), strict=True)
    same = all(
        a is b is None
        or (a is not None and b is not None and _equal_arrays(a.x, b.x) and _equal_arrays(a.y, b.y))
        for a, b in parts
    )
    return same and (one.info, one.preprocessing) == (other.info, other.preprocessing)


def _equal_arrays(a: Any, b: Any) -> bool:
    return bool(a.dtype == b.dtype and np.array_equal(a, b))


def frame(rows: int = 120, *, dated: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = pd.DataFrame({"number": 1.0 * np.arange(rows), "a": rng.normal(5, 3, rows)})
    made["b"] = rng.choice(["x", "y"], rows)
    made["label"] = np.where(rng.random(rows) > 0.4, "high", "low")
    made["patient"] = rng.choice(list("ABCDEFGHIJKLMNOPQRST"), rows)
    days = pd.date_range("2026-01-01", periods=rows).to_series().dt.strftime("%Y-%m-%d")
    made["day"] = rng.permutation(days.to_numpy())
    return made if dated else made.drop(columns=["day"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, and a module of functions."""
    path = tmp_path_factory.mktemp("rows")
    frame().to_csv(path / "t.csv", index=False)
    frame(dated=True).to_csv(path / "dated.csv", index=False)
    frame().to_parquet(path / "t.parquet")
    x = np.arange(90, dtype=float).reshape(90, 1) * [[1.0, -2.0]]
    y, day = np.arange(90) % 3, np.arange(90)[::-1]
    np.savez(path / "whole.npz", x=x, y=y, day=day)
    parts = {"x_train": x[:40], "y_train": y[:40], "x_val": x[40:60], "y_val": y[40:60]}
    np.savez(path / "two.npz", **parts, day_train=day[:40], day_val=day[40:60])
    np.savez(path / "three.npz", **parts, x_test=x[60:], y_test=y[60:])
    (path / "my_rows.py").write_text(MODULE)
    return path


MODULE = """
import numpy as np
x, y = np.arange(100.0).reshape(100, 1), np.arange(100) % 2
calls = []

def parts(order, test=True):
    made = {"train": order[:50], "val": order[50:80], "test": order[80:]}
    return {n: (x[r], y[r]) for n, r in made.items() if test or n != "test"}

def fixed(): return parts(np.arange(100))
def two(): return parts(np.arange(100), test=False)

def seeded(seed=3):
    calls.append(seed)
    order = np.random.default_rng(seed).permutation(80)
    return parts(np.concatenate([order, np.arange(80, 100)]))

def seeded_two(seed):
    return parts(np.random.default_rng(seed).permutation(100), test=False)

def leaking(seed): return parts(np.random.default_rng(seed).permutation(100))

def folds(fold=0, seed=0, test=True):
    if fold >= 4: raise IndexError(f"there is no fold {fold}")
    order = np.random.default_rng(seed).permutation(80)
    order = np.roll(order, 20 * fold)
    return parts(np.concatenate([order, np.arange(80, 100)]), test)

def own_keys(split=0.5): return fixed()
def unseen(seed):
    made = seeded(seed)
    if seed: made["train"] = (made["train"][0], made["train"][1] * 0)
    return made
def names(test="test"): return {"train": (x[:50], y[:50]), "val": (x[50:], y[50:])}
"""


@pytest.fixture
def mine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(folder)
    return "my_rows"


# Replicate 0 is what the same keys gave before there were replicates.


def expected(raw: Raw, task: Task, val: float, test: float, seed: int) -> Splits:
    """The division by two calls of scikit-learn."""
    rows, parts = np.arange(len(raw.y)), {}
    strata = raw.y if task is Task.CLASSIFICATION else None
    if test:
        rows, held = train_test_split(rows, test_size=test, random_state=seed, stratify=strata)
        parts = {"test": raw.rows(held)}
    strata = raw.y[rows] if strata is not None else None
    share = val / (1 - test)
    train, valid = train_test_split(rows, test_size=share, random_state=seed, stratify=strata)
    return prepare({"train": raw.rows(train), "val": raw.rows(valid), **parts}, task)


def read_whole(name: str, folder: Path) -> tuple[Raw, Task, dict[str, Any]]:
    if name == "digits":
        bunch = load_digits()
        images = (bunch.images / 16.0).astype(np.float32)
        return Raw(images, bunch.target), Task.CLASSIFICATION, {}
    if name == "breast_cancer":
        bunch = load_breast_cancer(as_frame=True)
        return Raw(bunch.data, bunch.target.to_numpy()), Task.CLASSIFICATION, {}
    if name == "npz":
        file = np.load(folder / "whole.npz")
        return Raw(file["x"], file["y"]), Task.CLASSIFICATION, {"path": folder / "whole.npz"}
    target, task = ("a", Task.REGRESSION) if name == "parquet" else ("label", Task.CLASSIFICATION)
    table = pd.read_csv(folder / "t.csv") if name == "csv" else frame()
    keys = {"path": folder / f"t.{name}", "target": target}
    return Raw(table.drop(columns=[target]), table[target].to_numpy()), task, keys


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "csv", "parquet", "npz"])
@pytest.mark.parametrize(("val", "test", "seed"), [(0.2, 0.2, 0), (0.3, 0.1, 5), (0.2, 0.0, 1)])
def test_replicate_0_of_whole_data_is_scikit_learns_division(
    folder: Path, name: str, val: float, test: float, seed: int
) -> None:
    raw, task, keys = read_whole(name, folder)
    config = ADAPTER.validate_python({"name": name, "val": val, "test": test, "seed": seed, **keys})
    wanted = expected(raw, task, val, test, seed)
    assert equal(open_rows(config).divide(), wanted)
    assert equal(load(config), wanted)


def test_replicate_0_of_divided_data_is_as_they_came(folder: Path, mine: str) -> None:
    npz = opened({"name": "npz", "path": folder / "three.npz"})
    for rows in (npz, opened({"name": "npz", "path": folder / "three.npz", "redraw": "pooled"})):
        splits = rows.divide()
        assert [len(s) for s in (splits.train, splits.val, splits.test or ())] == [40, 20, 30]
        assert splits.train.y.tolist() == (np.arange(40) % 3).tolist()
    function = opened(f"{mine}:seeded").divide()
    order = np.random.default_rng(3).permutation(80)
    assert function.train.x[:, 0].tolist() == order[:50].tolist()


# What holds for every source that is divided anew.

Make = Callable[[Path], Any]
ANEW: dict[str, Make] = {
    "breast_cancer": lambda _: {"name": "breast_cancer"},
    "csv": lambda f: {"name": "csv", "path": f / "t.csv", "target": "label"},
    "regression": lambda f: {"name": "parquet", "path": f / "t.parquet", "target": "a"},
    "group": lambda f: {
        "name": "csv",
        "path": f / "t.csv",
        "target": "label",
        "split": {"name": "group", "by": "patient"},
    },
    "time": lambda f: {
        "name": "npz",
        "path": f / "whole.npz",
        "split": {"name": "time", "by": "day"},
    },
    "pooled npz": lambda f: {"name": "npz", "path": f / "three.npz", "redraw": "pooled"},
    "pooled, test set aside": lambda f: {"name": "npz", "path": f / "two.npz", "redraw": "pooled"},
    "pooled function": lambda _: {"name": "my_rows:two", "redraw": "pooled"},
    "called with seed": lambda _: "my_rows:seeded",
    "called with seed, test set aside": lambda _: "my_rows:seeded_two",
}


def raw_rows(part: Split | None, splits: Splits) -> set[bytes]:
    """The samples of a split before they were scaled, which is the same in every division."""
    assert part is not None
    numbers = [c for c in splits.preprocessing.columns if c.categories is None][:4]
    x = part.x.reshape(len(part), -1)[:, : len(numbers) or None].astype(np.float64)
    for position, column in enumerate(numbers):
        x[:, position] = x[:, position] * column.scale + column.mean
    y = part.y.astype(np.float64)
    if splits.preprocessing.target_scale:
        y = y * splits.preprocessing.target_scale[0] + splits.preprocessing.target_mean[0]
    return {r.tobytes() for r in np.round(np.column_stack([x, y]), 3) + 0.0}


@pytest.mark.parametrize("name", ANEW)
@pytest.mark.usefixtures("mine")
def test_replicates_share_the_test_rows_and_differ_in_the_others(folder: Path, name: str) -> None:
    rows = opened(ANEW[name](folder))
    assert rows.redraws
    assert rows.tested
    rows.check_replicates(5)
    zeroth = rows.divide()
    seen, first = set(), raw_rows(zeroth.test, zeroth)
    for replicate in REPLICATES:
        splits = rows.divide(replicate)
        train, val, test = (raw_rows(s, splits) for s in (splits.train, splits.val, splits.test))
        assert test == first
        assert len(test | train | val) == len(test) + len(train) + len(val)
        assert equal(splits, rows.divide(replicate))
        seen.add(frozenset(train))
    assert len(seen) == len(REPLICATES)


@pytest.mark.parametrize("name", ANEW)
@pytest.mark.usefixtures("mine")
def test_rows_come_out_of_a_pickle_as_they_were(folder: Path, name: str) -> None:
    rows = opened(ANEW[name](folder))
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(rows, protocol=5, buffer_callback=buffers.append)
    again = pickle.loads(text, buffers=[bytes(b) for b in buffers])  # read-only, as Ray's are
    for replicate in (0, 1):
        assert equal(again.divide(replicate), rows.divide(replicate))


@pytest.mark.parametrize("name", ANEW)
@pytest.mark.usefixtures("mine")
def test_the_test_rows_can_be_redrawn_too(folder: Path, name: str) -> None:
    rows = opened(ANEW[name](folder))
    first = rows.divide()
    assert equal(rows.divide(0, redraw_test=True), first)
    tests = set()
    for replicate in (1, 2, 3):
        splits = rows.divide(replicate, redraw_test=True)
        train, val, test = (raw_rows(s, splits) for s in (splits.train, splits.val, splits.test))
        assert len(test | train | val) == len(test) + len(train) + len(val)
        tests.add(frozenset(test))
    if name != "called with seed":  # whose function returns the same test rows
        assert len(tests | {frozenset(raw_rows(first.test, first))}) == 4


def test_arrays_go_into_a_pickle_without_copies(folder: Path) -> None:
    rows, buffers = opened({"name": "digits"}), []
    text = pickle.dumps(rows, protocol=5, buffer_callback=buffers.append)
    assert len(text) < 20_000
    assert buffers


def test_preprocessing_is_refitted_on_each_training_part(folder: Path) -> None:
    rows = opened(ANEW["csv"](folder))
    made = [rows.divide(r) for r in REPLICATES]
    assert len({s.preprocessing.columns[1].mean for s in made}) == len(REPLICATES)
    for splits in made:
        assert splits.train.x[:, 1].mean() == pytest.approx(0, abs=1e-5)
        assert splits.train.x[:, 1].std() == pytest.approx(1, abs=1e-5)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    groups=st.lists(st.integers(0, 9), min_size=30, max_size=60),
    seed=st.integers(0, 3),
    replicate=st.integers(0, 6),
    redraw=st.booleans(),
)
def test_groups_never_straddle_parts(
    tmp_path: Path, groups: list[int], seed: int, replicate: int, redraw: bool
) -> None:
    if len(set(groups)) < 3:
        return
    table = pd.DataFrame({"who": groups, "copy": groups, "y": np.linspace(0, 1, len(groups))})
    table.to_csv(tmp_path / "g.csv", index=False)
    split = {"name": "group", "by": "who"}
    source = {"name": "csv", "path": tmp_path / "g.csv", "target": "y", "split": split}
    splits = opened({**source, "seed": seed}).divide(replicate, redraw_test=redraw)
    parts = [ids(s) for s in (splits.train, splits.val, splits.test)]
    assert splits.info.input_shape == (1,)
    assert len(set.union(*parts)) == len(set(groups)) == sum(len(p) for p in parts)


def test_time_is_in_order_for_every_replicate(folder: Path) -> None:
    source = {"name": "npz", "path": folder / "whole.npz", "split": {"name": "time", "by": "day"}}
    rows = opened(source)
    starts = set()
    for replicate in range(8):
        splits = rows.divide(replicate)
        mean, scale = splits.preprocessing.columns[0].mean, splits.preprocessing.columns[0].scale
        train, val, test = (
            {89 - round(v * scale + mean) for v in ids(s)}
            for s in (splits.train, splits.val, splits.test)
        )
        assert max(train) < min(val)
        assert max(val) < min(test)
        assert test == set(range(72, 90))
        assert len(val) == 18
        starts.add(min(val))
    assert len(starts) == 8


def test_the_column_is_an_input_only_if_the_spec_keeps_it(folder: Path) -> None:
    source = {"name": "csv", "path": folder / "dated.csv", "target": "label"}
    without = opened({**source, "split": {"name": "time", "by": "day"}}).divide()
    names = [c.name for c in without.preprocessing.columns]
    assert names == ["number", "a", "b", "patient"]
    source["path"] = folder / "t.csv"
    kept = opened({**source, "split": {"name": "group", "by": "patient", "keep": True}}).divide()
    assert [c.name for c in kept.preprocessing.columns] == ["number", "a", "b", "patient"]


def test_the_example_of_the_readme_divides_by_patient(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "trainables" / "README.md"
    data = yaml.safe_load(example(page, "groups", "yaml"))["data"]
    table = frame().rename(columns={"label": "ill"})
    table["patient"] = table["patient"].map(ord)  # a number, which the test can see as an input
    table.to_csv(tmp_path / "visits.csv", index=False)
    data["path"], data["split"]["keep"] = tmp_path / data["path"], True
    rows = opened(data)
    for replicate in REPLICATES:
        splits = rows.divide(replicate)
        position = [c.name for c in splits.preprocessing.columns].index("patient") - 1
        train, val, test = (ids(s, position) for s in (splits.train, splits.val, splits.test))
        assert len(train | val | test) == len(train) + len(val) + len(test) == 20


# Data that come divided.


def test_given_splits_are_the_same_in_every_replicate(folder: Path, mine: str) -> None:
    for config in ({"name": "npz", "path": folder / "three.npz"}, f"{mine}:fixed"):
        rows = opened(config)
        assert not rows.redraws
        rows.check_replicates(99)
        assert all(equal(rows.divide(r, redraw_test=True), rows.divide()) for r in (1, 2))


@pytest.mark.parametrize(("test", "sizes"), [(None, (32, 16, 12)), (0.4, (24, 12, 24))])
def test_a_share_of_each_part_is_set_aside_where_there_are_no_test_rows(
    folder: Path, test: float | None, sizes: tuple[int, ...]
) -> None:
    config = {"name": "npz", "path": folder / "two.npz"}
    rows = opened(config if test is None else {**config, "test": test})
    splits = rows.divide()
    assert splits.test is not None
    assert tuple(len(s) for s in (splits.train, splits.val, splits.test)) == sizes
    assert rows.tested
    assert splits.train.x.mean(axis=0) == pytest.approx(0, abs=1e-6)


def test_no_rows_are_set_aside_where_the_spec_says_0(folder: Path, mine: str) -> None:
    for config in (
        {"name": "npz", "path": folder / "two.npz", "test": 0},
        {"name": "npz", "path": folder / "whole.npz", "test": 0},
        {"name": f"{mine}:two", "test": 0},
    ):
        rows = opened(config)
        assert not rows.tested
        assert rows.divide(1).test is None


def test_the_last_rows_of_divided_data_are_the_test_where_time_divides(folder: Path) -> None:
    source = {"name": "npz", "path": folder / "two.npz", "split": {"name": "time", "by": "day"}}
    splits = opened(source).divide()
    mean, scale = splits.preprocessing.columns[0].mean, splits.preprocessing.columns[0].scale
    assert {round(v * scale + mean) for v in ids(splits.test)} == set(range(12))


def test_a_function_is_called_once_for_the_search_and_once_for_each_replicate(mine: str) -> None:
    from my_rows import calls  # type: ignore[import-not-found]  # the fixture writes it

    calls.clear()
    rows = opened({"name": f"{mine}:seeded", "seed": 10})
    rows.divide()
    rows.divide(2)
    assert calls == [10, 12]


def test_folds_of_a_function(mine: str) -> None:
    rows = opened(f"{mine}:folds")
    vals = [ids(rows.divide(r).val) for r in range(4)]
    assert len({frozenset(v) for v in vals}) == 4
    assert all(ids(rows.divide(r).test) == set(range(80, 100)) for r in range(4))
    rows.check_replicates(3)
    with pytest.raises(DataError, match="for fold 5 raised IndexError: there is no fold 5"):
        rows.check_replicates(5)
    assert not opened({"name": f"{mine}:folds", "fold": 2}).redraws


def test_keys_that_a_function_names_are_its_arguments(mine: str) -> None:
    assert opened({"name": f"{mine}:folds", "test": False}).tested is False
    assert opened({"name": f"{mine}:names", "test": "anything"}).tested
    with pytest.raises(DataError, match="`test` must be a fraction"):
        opened({"name": f"{mine}:two", "test": "anything"})


def test_a_replicate_that_trains_on_a_test_row_is_refused_by_name(mine: str) -> None:
    rows = opened(f"{mine}:leaking")
    rows.divide()
    with pytest.raises(DataError, match=r"replicate 3: row \d+ of test equals row \d+ of"):
        rows.divide(3)


# What is refused.


def table_with(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame], **keys: Any) -> Any:
    change(frame(dated="day" in str(keys))).to_csv(folder / "changed.csv", index=False)
    return {"name": "csv", "path": folder / "changed.csv", "target": "label", **keys}


GROUP, TIME = {"name": "group", "by": "patient"}, {"name": "time", "by": "day"}


@pytest.mark.parametrize(
    ("change", "split", "words"),
    [
        (lambda f: f.assign(patient=f.patient.where(f.patient == "A", "B")), GROUP, "2 groups"),
        (lambda f: f.rename(columns={"patient": "pateint"}), GROUP, "did you mean 'pateint'"),
        (lambda f: f.assign(patient=f.patient.where(f.index != 6)), GROUP, "row 6 has no 'pati"),
        (lambda f: f.assign(day=f.day.where(f.index != 6)), TIME, "row 6 has no 'day'"),
        (lambda f: f.assign(day=f.day.where(f.index != 6, "soon")), TIME, "row 6 is 'soon'"),
        (lambda f: f.assign(day="2026-01-01"), TIME, "1 different times; 3 parts need 3"),
        (lambda f: f[["patient", "label"]], GROUP, "has no input but 'patient'"),
    ],
)
def test_columns_that_cannot_divide_are_refused(
    tmp_path: Path, change: Any, split: Any, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        opened(table_with(tmp_path, change, split=split))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"name": "digits", "split": {"name": "group", "by": "x"}}, "has no columns; `by` names"),
        ({"name": "npz", "path": "whole.npz", "redraw": "pooled"}, "has no effect on data in one"),
        (
            {"name": "npz", "path": "whole.npz", "split": {"name": "time", "by": "dya"}},
            "no array 'dya'; did you mean 'day'",
        ),
        (
            {"name": "npz", "path": "whole.npz", "split": {"name": "time", "by": "x"}},
            "'x' has shape .* one value for 90 rows",
        ),
        (
            {
                "name": "npz",
                "path": "whole.npz",
                "split": {"name": "time", "by": "day", "keep": True},
            },
            "`keep` is for columns of tables",
        ),
        ({"name": "my_rows:fixed", "test": 0.3}, "returns test rows, so `test` has no effect"),
        ({"name": "my_rows:two", "seed": "x"}, "`seed` must be a whole number"),
    ],
)
@pytest.mark.usefixtures("mine")
def test_keys_without_effect_or_meaning_are_refused(
    folder: Path, config: dict[str, Any], words: str
) -> None:
    if "path" in config:
        config = {**config, "path": folder / config["path"]}
    with pytest.raises(DataError, match=words):
        opened(config)


def test_an_argument_that_is_a_key_of_data_is_refused(mine: str) -> None:
    with pytest.raises(ContractError, match="argument 'split', which is a key of `data`"):
        opened({"name": f"{mine}:own_keys", "split": {"name": "stratified", "folds": 5}})
    opened(f"{mine}:own_keys")
    opened({"name": f"{mine}:own_keys", "split": "stratified", "args": {"split": 0.3}})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"name": "digits", "split": "grouped"}, "did you mean 'group'"),
        ({"name": "digits", "split": "group"}, "by"),
        ({"name": "digits", "redraw": "pooled"}, "has no effect on data in one piece"),
    ],
)
def test_a_spec_with_an_invalid_division_is_refused(config: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ADAPTER.validate_python(config)


def divided_npz(folder: Path, train: list[int], val: list[int], **keys: Any) -> Any:
    test = sorted(set(train))
    x = [i + np.arange(0.0, len(p)).reshape(-1, 1) / 100 for i, p in enumerate((train, val, test))]
    named = zip(("train", "val", "test"), x, (train, val, test), strict=True)
    arrays = {f"{k}_{n}": np.asarray(v) for n, a, y in named for k, v in (("x", a), ("y", y))}
    np.savez(folder / "rare.npz", **arrays)
    return {"name": "npz", "path": folder / "rare.npz", "redraw": "pooled", **keys}


def test_a_class_too_rare_to_redraw_is_refused(tmp_path: Path) -> None:
    rows = opened(divided_npz(tmp_path, [0, 1] * 10 + [2], [0, 1] * 5))
    rows.divide()
    with pytest.raises(DataError, match=r"class '2' has 1 rows, .* every class needs at least 2"):
        rows.check_replicates(5)


def test_a_division_whose_training_part_lacks_a_class_is_named(tmp_path: Path) -> None:
    y = np.repeat([0, 1, 2], [65, 31, 4])
    np.savez(tmp_path / "t.npz", x=np.arange(100.0).reshape(-1, 1), y=y[::-1], t=np.arange(100))
    late = opened({"name": "npz", "path": tmp_path / "t.npz", "split": {"name": "time", "by": "t"}})
    late.check_replicates(1)
    with pytest.raises(DataError, match=r"division \d+ of 20: .* no row of class '0'"):
        late.check_replicates(20)


def test_a_label_that_is_constant_in_a_training_part_is_named(tmp_path: Path) -> None:
    y = np.stack([np.arange(40) % 2, np.arange(40) == 7], 1).astype(int)
    np.savez(tmp_path / "t.npz", x=np.arange(40.0).reshape(-1, 1), y=y)
    rows = opened({"name": "npz", "path": tmp_path / "t.npz", "test": 0})
    with pytest.raises(DataError, match=r"division \d+ of 20: label 1 is constant"):
        rows.check_replicates(20)


def test_more_replicates_than_windows_are_refused(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "t.npz",
        x=np.arange(80.0).reshape(-1, 1),
        y=np.arange(80) / 7,
        t=np.arange(80) // 8,
    )
    rows = opened({"name": "npz", "path": tmp_path / "t.npz", "split": {"name": "time", "by": "t"}})
    with pytest.raises(DataError, match="8 replicates need as many earlier validation windows"):
        rows.check_replicates(8)


def test_a_call_that_lacks_a_class_is_refused(mine: str) -> None:
    rows = opened(f"{mine}:unseen")
    with pytest.raises(TrainableError, match="division 2: the training part has no row of class"):
        rows.check_replicates(2)


def test_the_windows_of_replicates_are_spread(folder: Path) -> None:
    """Neighbouring replicates do not have neighbouring windows."""
    source = {"name": "npz", "path": folder / "whole.npz", "split": {"name": "time", "by": "day"}}
    rows = opened(source)
    sizes = [len(rows.divide(r).train) for r in range(1, 6)]
    assert all(abs(a - b) > 2 for a, b in pairwise(sizes))


def test_digits_are_read_without_importing_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    splits = opened({"name": "digits"}).divide()
    assert splits.train.x.shape[-2:] == (8, 8)
