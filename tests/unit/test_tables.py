"""How tables are read: a guess that is wrong is refused or told, never silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gapsweep
import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from service.cli.spec_tables import build_spec_table
from service.run.preflight import run_preflight
from tests.specs import parse
from trainables.config.data import DataChoice
from trainables.config.data_info import Task
from trainables.data.datasets import open_rows
from trainables.data.description import describe_data
from trainables.data.preprocessing import WithPreprocessing
from trainables.data.rows import Rows
from trainables.data.splits import Splits
from trainables.errors import DataError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DataChoice)
ROWS = 240
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, ROWS)).round(3)
LABEL = (A + B > 0).astype(int)
PLAIN = pd.DataFrame({"a": A, "b": B, "label": LABEL})


def opened(config: Any) -> Rows:
    return open_rows(ADAPTER.validate_python(config))


class Csv:
    """A CSV file of a table, or of a text."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "t.csv"

    def __call__(self, table: pd.DataFrame | str | bytes, **keys: Any) -> dict[str, Any]:
        if isinstance(table, pd.DataFrame):
            table.to_csv(self.path, index=False)
        else:
            self.path.write_bytes(table.encode() if isinstance(table, str) else table)
        return {"name": "csv", "path": self.path, "target": "label", **keys}


@pytest.fixture
def csv(tmp_path: Path) -> Csv:
    return Csv(tmp_path)


def with_texts(**columns: Any) -> pd.DataFrame:
    return PLAIN.assign(
        **{n: np.resize(np.array(v, dtype=object), ROWS) for n, v in columns.items()}
    )


def stray(text: str, row: int = 7) -> list[str]:
    return [text if i == row else str(v) for i, v in enumerate(A)]


AB = {"a": A, "b": B}
DAYS = pd.date_range("2020-01-01", periods=ROWS)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": stray("?")}, r"1 of 240 values: row 7 is '\?'; .*`missing_values`"),
        ({"a": stray("unknown")}, r"row 7 is 'unknown'"),
        ({"a": [*map(str, range(9)), "?"]}, r"24 of 240 values: row 9 is '\?'"),
        (
            {"a": [str(v).replace(".", ",") for v in A]},
            r"with commas: row 0 is '0,126'; set `decimal` or",
        ),
        ({"a": [f"{5000 + i:,}" for i in range(ROWS)]}, r"row 0 is '5,000'; .*`thousands`"),
        (
            {"a": [f"{10_000 + i * 7:,}".replace(",", " ") for i in range(ROWS)]},
            r"are grouped: row 0",
        ),
        ({"a": ["$5", "$7.50", "$1,000"]}, r"has numbers with a unit: row 0 is '.5'"),
        ({"a": ["?"]}, r"has no values but '\?'"),
        ({"label": DAYS.strftime("%Y-%m-%d")}, "the target 'label' has dates"),
        ({"label": [f"{v:.1f}%" for v in A]}, "has numbers with a unit"),
        ({"d": DAYS.strftime("%Y-%m-%d")}, r"'d' has dates .* `exclude: \[d\]`.* `split: {name: t"),
        ({"d": DAYS.strftime("%d.%m.%Y")}, r"'d' has dates or times \('01.01.2020'\)"),
        ({"d": DAYS.strftime("%b %d, %Y")}, r"'d' has dates or times"),
        ({"d": DAYS.strftime("%Y-%m-%d %H:%M:%S")}, r"'d' has dates or times"),
        ({"d": [f"{h:02}:30" for h in range(24)]}, r"'d' has dates or times"),
        ({"id": [f"cust-{i:05}" for i in range(ROWS)]}, r"240 different texts .*`exclude: \[id\]`"),
        ({"id": [str(10**20 + i) for i in range(ROWS)]}, r"too many digits to tell them apart"),
        ({"a": ["", *map(str, A[1:])]}, r"row 0, column 'a' is missing .*`missing: impute` or"),
        ({"a": ["inf", *map(str, A[1:])]}, r"row 0, column 'a' is infinite"),
        ({"label": [*map(str, A[1:]), "?"]}, r"'label' has numbers, but for 1 of 240 .* row 239"),
    ],
)
def test_what_is_neither_numbers_nor_categories_is_refused(
    csv: Csv, columns: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        opened(csv(with_texts(**columns)))


@pytest.mark.parametrize(
    ("columns", "keys", "inputs"),
    [
        ({"c": ["0", "1", "2", "3+"]}, {}, 6),  # codes
        ({"c": ["red", "green", "2020"]}, {}, 5),
        ({"c": [f"cust-{i:05}" for i in range(ROWS)]}, {"exclude": ["c"]}, 2),
        ({"c": [f"{i:03}x" for i in range(150)]}, {"categories": ["c"]}, 117),  # in training rows
        ({"c": [1, 2, 3]}, {"categories": ["c"]}, 5),
        ({"c": ["true", "false"]}, {}, 3),  # booleans are numbers
        ({"a": stray("?")}, {"missing_values": ["?"], "missing": "impute"}, 2),
        ({"a": stray("inf")}, {"missing_values": ["inf"], "missing": "drop"}, 2),
        ({"c": ["NA", "gravel", "paved"]}, {"missing_values": []}, 5),
        ({"c": ["NA", "gravel", "paved"]}, {"missing": "impute"}, 5),
        ({"c": ["NA", "gravel", "paved"]}, {"missing": "drop"}, 4),
        ({n: [str(v).replace(".", ",") for v in C] for n, C in AB.items()}, {"decimal": ","}, 2),
        ({"a": [f"{5000 + i:,}" for i in range(ROWS)]}, {"thousands": ","}, 2),
        ({"d": DAYS.strftime("%Y-%m-%d")}, {"exclude": ["d"]}, 2),
        ({"d": DAYS.strftime("%Y-%m-%d")}, {"split": {"name": "time", "by": "d"}}, 2),
    ],
)
def test_what_a_spec_says_of_columns(
    csv: Csv, columns: dict[str, Any], keys: dict[str, Any], inputs: int
) -> None:
    made = opened(csv(with_texts(**columns), **keys)).divide()
    found = made.preprocessing.columns
    assert sum(1 if c.categories is None else len(c.categories) for c in found) == inputs
    assert np.isfinite(made.train.x).all()


def lines(header: str, row: str) -> str:
    return "\n".join([header, *(row.format(i=i, c=i % 2) for i in range(60)), ""])


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (lines("a;b;label", "{i}.5;x;{c}"), {"separator": ";"}),
        (lines("a\tb\tlabel", "{i}.5\tx\t{c}"), {"separator": "\t"}),
        (lines("a,größe,label", "{i}.5,1,{c}"), {"encoding": "latin-1"}),
        (lines("a, b, label", "{i}.5, ü, {c}"), {}),
        (lines("a,b,label", "{i}.5,1,{c},"), {}),  # every line ends with a separator
    ],
)
def test_a_file_is_read_as_the_spec_says(csv: Csv, text: str, keys: dict[str, Any]) -> None:
    config = csv(text.encode(keys.get("encoding", "utf-8")), **keys)
    assert len(opened(config).divide().preprocessing.columns) == 2
    for key in keys:
        with pytest.raises(DataError, match=f"set `{key}"):
            opened({k: v for k, v in config.items() if k != key})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,label,label\n1,0,1\n", "two columns 'label'"),
        ("0.5,1.5,0\n1,2,1\n", "has no header: its first row is 0.5, 1.5, 0"),
        ("a,,label\n1.5,2.5,0\n1.5,7.5,1\n", "column 2 has no name"),
        ("a;label\n1;2,5\n3;4,5\n", "has one column, .a;label.; set `separator: .;.`"),
        ("a,b,label\n1,2,0,7\n3,4,1,8\n", "more values than the header has names"),
        ("label\n1\n0\n", "no column for the inputs"),
    ],
)
def test_headers_that_do_not_name_every_column(csv: Csv, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        opened(csv(text))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"exclude": ["bb"]}, "no column 'bb'; did you mean 'b'"),
        ({"categories": ["bb"]}, "no column 'bb'"),
        ({"exclude": ["label"]}, "'label' is the target"),
        ({"split": {"name": "group", "by": "label"}}, "'label' is the target"),
    ],
)
def test_keys_that_name_the_wrong_column(csv: Csv, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        opened(csv(PLAIN, **keys))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"encoding": "latin-one"}, "unknown encoding 'latin-one'"),
        ({"decimal": ",", "thousands": ","}, "different characters"),
        ({"separator": "::"}, "at most 1 character"),
        ({"split": {"name": "stratified", "folds": 5}, "val": 0.3}, "`val` has no effect"),
    ],
)
def test_keys_without_meaning(csv: Csv, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        opened(csv(PLAIN, **keys))


# Targets.


@pytest.mark.parametrize(
    ("target", "task", "outputs"),
    [
        (LABEL.astype(float), Task.CLASSIFICATION, 2),
        (np.arange(ROWS) % 3.0, Task.CLASSIFICATION, 3),
        (np.arange(ROWS) % 3.0 - 1, Task.CLASSIFICATION, 3),
        (np.round(1000 * A), Task.REGRESSION, 1),  # whole, but too many to be labels
        (A, Task.REGRESSION, 1),
        (LABEL.astype(bool), Task.CLASSIFICATION, 2),
    ],
)
def test_floats_that_are_few_whole_numbers_are_classes(
    csv: Csv, target: Any, task: Task, outputs: int
) -> None:
    info = opened(csv(PLAIN.assign(label=target))).divide().info
    assert (info.task, info.outputs) == (task, outputs)


@pytest.mark.parametrize("split", ["stratified", {"name": "group", "by": "patient"}])
def test_prices_that_are_read_as_classes_are_refused_with_the_guess(csv: Csv, split: Any) -> None:
    table = PLAIN.assign(label=100_000 + np.arange(ROWS) * 7, patient=np.arange(ROWS) // 8)
    with pytest.raises(
        DataError, match=r"are whole numbers, .* read as classes: .*`task: regression`"
    ):
        opened(csv(table, split=split)).divide()
    assert opened(csv(table, split=split, task="regression")).divide().info.outputs == 1


def test_numbers_are_scaled_before_they_lose_their_digits(csv: Csv) -> None:
    when, other = 1.7e9 + 60 * A, 1.7e9 + 60 * B
    splits = opened(csv(PLAIN.assign(a=other, label=when))).divide()
    assert splits.test is not None
    y = np.concatenate([s.y for s in (splits.train, splits.val, splits.test)])
    x = np.concatenate([s.x for s in (splits.train, splits.val, splits.test)])
    assert len(np.unique(y)) == len(np.unique(when))
    assert len(np.unique(x[:, 0])) == len(np.unique(other))


def test_a_network_takes_and_returns_large_numbers_in_their_units(csv: Csv) -> None:
    when, other = 1.7e9 + 60 * A, 1.7e9 + 60 * B
    splits = opened(csv(PLAIN.assign(a=other, b=when, label=when), test=0)).divide()
    network = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(network.bias, 0)
    network.weight.data = torch.tensor([[0.0, 1.0]])  # the answer is among the inputs
    raw = torch.tensor(np.stack([other, when], 1))
    answered = WithPreprocessing(network, splits.preprocessing)(raw).detach().numpy()[:, 0]
    assert answered == pytest.approx(when, abs=0.001)
    small = opened(csv(PLAIN)).divide().preprocessing
    assert small.raw_type == torch.float32


# Missing values and columns that say nothing, named.


def find(rows: Rows, subject: str) -> str:
    return "; ".join(note.text for note in rows.notes if note.subject == subject)


def test_dropped_and_imputed_values_are_counted(csv: Csv) -> None:
    table = PLAIN.assign(a=PLAIN.a.where(PLAIN.index >= 3), b=PLAIN.b.where(PLAIN.index != 9))
    dropped = opened(csv(table, missing="drop"))
    assert find(dropped, "dropped") == "4 of 240 rows, with missing values in a (3), b (1)"
    splits = dropped.divide()
    assert splits.test is not None
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 236
    imputed = opened(csv(table, missing="impute"))
    assert find(imputed, "imputed").startswith("missing values in a (3), b (1): numbers by the med")


def test_numbers_are_imputed_by_the_median_of_the_training_rows(csv: Csv) -> None:
    table = PLAIN.assign(a=PLAIN.a.where(PLAIN.index % 3 > 0), b=RNG.normal(size=ROWS))
    config = csv(table, missing="impute")
    splits = opened(config).divide()
    column = splits.preprocessing.columns[0]
    known = splits.train.x[:, 0] * column.scale + column.mean
    gaps = np.isclose(known, column.fill, atol=1e-6)
    assert gaps.sum() > 30
    assert column.fill == pytest.approx(np.median(known[~gaps]), abs=0.1)
    network = WithPreprocessing(torch.nn.Identity(), splits.preprocessing)
    raw = torch.tensor([[float("nan"), 0.0], [column.fill, 0.0]])
    assert torch.equal(*network(raw))


def test_constants_identifiers_and_what_is_left_out_are_named(csv: Csv) -> None:
    table = PLAIN.assign(same=3.5, customer_id=RNG.permutation(10 * np.arange(ROWS)), note="x")
    table.to_csv(csv.path)  # with the index
    rows = opened({"name": "csv", "path": csv.path, "target": "label", "exclude": ["note"]})
    assert find(rows, "constant") == "same: one value in all rows, without effect"
    assert find(rows, "identifier?").startswith("customer_id: a whole number of its own")
    assert find(rows, "left out") == (
        "'note', by `exclude`; column 1, which has no name and numbers the rows"
    )
    names = [c.name for c in rows.divide().preprocessing.columns]
    assert names == ["a", "b", "same", "customer_id"]


# Equal rows.

COPY = [*range(9)] * 9
COPIES = pd.concat([PLAIN] * 3, ignore_index=True)


@pytest.mark.parametrize("table", [COPIES, COPIES.reset_index(names="number")])
def test_rows_that_two_splits_would_share_are_refused(csv: Csv, table: pd.DataFrame) -> None:
    config = csv(table)
    with pytest.raises(DataError, match=r"rows 0 and 240 are equal, and 480 rows of 720 repeat"):
        opened(config)
    assert len(opened({**config, "allow_overlap": True}).divide().train) == 432


@pytest.mark.parametrize("folds", [None, 4])
def test_equal_rows_can_be_kept_in_one_part(csv: Csv, folds: int | None) -> None:
    split = {"name": "distinct", "folds": folds}
    rows = opened(csv(COPIES, split=split))
    for replicate in range(5):
        splits = rows.divide(replicate)
        assert splits.test is not None
        parts = [{r.tobytes() for r in s.x} for s in (splits.train, splits.val, splits.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == ROWS
        assert splits.val.y.mean() == pytest.approx(LABEL.mean(), abs=0.05)


def test_folds_of_data_that_come_divided_are_refused_unless_they_are_pooled(mine: str) -> None:
    config = {"name": f"{mine}:codes", "split": {"name": "stratified", "folds": 4}}
    with pytest.raises(DataError, match="no effect on data that come divided; set `redraw: pool"):
        opened(config)
    rows = opened({**config, "redraw": "pooled"})
    assert {len(rows.divide(n).val) for n in (1, 2, 3)} == {24}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": A[:9], "y": LABEL}, r"x and y have shapes \(9,\) and \(240,\)"),
        ({"x": PLAIN[["a"]].to_numpy(), "y": np.where(LABEL, A, np.nan)}, "the target is NaN"),
        ({"x": np.full((ROWS, 1, 2, 2), np.nan), "y": LABEL}, "row 0: the input is NaN, as in 240"),
    ],
)
def test_arrays_that_cannot_be_read(tmp_path: Path, arrays: Any, words: str) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match=words):
        opened({"name": "npz", "path": tmp_path / "t.npz"})


PARQUET = {
    "dates": (pd.date_range("2020", periods=ROWS), "'k' has dates or times"),
    "durations": (pd.to_timedelta(np.arange(ROWS), "h"), "'k' has dates or times"),
    "lists": ([[1, 2]] * ROWS, "row 0 is array.*of type ndarray"),
    "missing": (pd.array([None, *range(ROWS - 1)], dtype="Int64"), "row 0, column 'k' is missing"),
}


@pytest.mark.parametrize("name", PARQUET)
def test_columns_of_parquet_that_are_no_inputs(tmp_path: Path, name: str) -> None:
    values, words = PARQUET[name]
    PLAIN.assign(k=values).to_parquet(tmp_path / "t.parquet")
    config = {"name": "parquet", "path": tmp_path / "t.parquet", "target": "label"}
    with pytest.raises(DataError, match=words):
        opened(config)
    assert opened({**config, "exclude": ["k"]}).divide().info.input_shape == (2,)


@pytest.mark.parametrize(
    ("dtype", "task"), [("Int64", Task.CLASSIFICATION), ("boolean", Task.CLASSIFICATION)]
)
def test_targets_of_nullable_types(tmp_path: Path, dtype: str, task: Task) -> None:
    PLAIN.assign(label=pd.array(LABEL, dtype=dtype)).to_parquet(tmp_path / "t.parquet")
    config = {"name": "parquet", "path": tmp_path / "t.parquet", "target": "label"}
    splits = opened(config).divide()
    assert (splits.info.task, splits.preprocessing.classes) == (task, (0, 1))


@pytest.mark.parametrize("keys", [{}, {"redraw": "pooled"}])
def test_equal_rows_of_arrays_are_refused_too(tmp_path: Path, keys: dict[str, Any]) -> None:
    x, y = PLAIN[["a", "b"]].to_numpy(), LABEL
    path = tmp_path / "t.npz"
    np.savez(path, x=np.concatenate([x, x]), y=np.concatenate([y, y]))
    with pytest.raises(DataError, match="rows 0 and 240 are equal"):
        opened({"name": "npz", "path": path})
    parts = {"x_train": x, "y_train": y, "x_val": x[:9], "y_val": y[:9]}
    np.savez(path, **parts)
    with pytest.raises(DataError, match="row 0 of val equals row 0 of train"):
        opened({"name": "npz", "path": path, **keys})
    np.savez(path, **{**parts, "x_val": x[:90] + 9, "y_val": y[:90]})
    assert opened({"name": "npz", "path": path, **keys}).tested
    np.savez(path, x_train=x[COPY], y_train=y[COPY], x_val=x[:90] + 9, y_val=y[:90])
    with pytest.raises(DataError, match="rows 0 and 9 are equal"):
        opened({"name": "npz", "path": path, **keys})
    assert opened({"name": "npz", "path": path, "split": "distinct", **keys}).tested
    assert opened({"name": "npz", "path": path, "allow_overlap": True, **keys}).tested


def test_rows_of_different_groups_are_different_though_their_values_are_equal(csv: Csv) -> None:
    table = COPIES.assign(patient=np.arange(len(COPIES)) // 30)
    assert opened(csv(table, split={"name": "group", "by": "patient"})).divide()


# Arrays.


def test_each_split_has_its_own_type(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (60, 1, 4, 4), dtype=np.uint8)
    y = np.arange(60) % 2
    path = tmp_path / "t.npz"
    np.savez(path, x_train=x[:40], y_train=y[:40], x_val=x[40:] / 255.0, y_val=y[40:])
    splits = opened({"name": "npz", "path": path, "test": 0}).divide()
    assert splits.train.x.max() == pytest.approx(1, abs=0.05)
    assert splits.val.x == pytest.approx(x[40:] / np.float32(255), abs=1e-6)


@pytest.mark.parametrize("missing", ["refuse", "impute", "drop"])
def test_missing_values_of_arrays(tmp_path: Path, missing: str) -> None:
    x = PLAIN[["a", "b"]].to_numpy().copy()
    x[:24, 1] = np.nan
    np.savez(tmp_path / "t.npz", x=x, y=LABEL)
    config = {"name": "npz", "path": tmp_path / "t.npz", "missing": missing}
    if missing == "refuse":
        with pytest.raises(DataError, match=r"row 0, column '1' is missing .*`missing: impute`"):
            opened(config)
        return
    rows = opened(config)
    told = find(rows, "imputed" if missing == "impute" else "dropped")
    assert told.startswith("missing values in 1 (24)" if missing == "impute" else "24 of 240 rows")
    splits = rows.divide()
    assert splits.test is not None
    total = sum(map(len, (splits.train, splits.val, splits.test)))
    assert total == (ROWS if missing == "impute" else ROWS - 24)


# Tables of functions.

MODULE = """
import numpy as np, pandas as pd
x = np.random.default_rng(0).normal(size=(120, 3))
y = np.arange(120) % 2
frame = pd.DataFrame(x, columns=list("abc"))

def parts(f, g=None):
    g = f if g is None else g
    return {"train": (f[:80], y[:80]), "val": (g[80:], y[80:])}

def twice(): return parts(pd.DataFrame(x, columns=["a", "b", "a"]))
def dates(): return parts(frame.assign(d=pd.date_range("2020", periods=120)))
def lists(): return parts(frame.assign(m=[[1, 2]] * 120))
def mixed(): return parts(frame.assign(m=[1 if i % 2 else "one" for i in range(120)]))
def stray(): return parts(frame.assign(a=[*map(str, x[:79, 0]), "?", *map(str, x[80:, 0])]))
def gaps(): return parts(frame.assign(a=pd.array([1, None] * 60, dtype="Int64")))
def kinds(): return parts(frame, frame.assign(a="x"))
def columns(): return parts(frame, frame[["a", "b"]])
def order(): return parts(frame, frame[["b", "a", "c"]])
def one_table(): return parts(frame, frame.to_numpy())
def codes(): return parts(frame.assign(k=[f"k{i}" for i in range(120)]).astype({"k": "category"}))
def nullable(): return parts(frame.assign(a=pd.array([1, 2] * 60, dtype="Int64")))
def seconds(): return {n: (a, 1.7e9 + 60 * x[:len(a), 0]) for n, (a, _) in parts(x).items()}
def labels(): return {n: (a, np.arange(len(a)) % 3.0) for n, (a, _) in parts(x).items()}
def prices(): return {n: (a, 10**5 + np.arange(len(a))**2) for n, (a, _) in parts(x).items()}
def copies():
    twice = [*range(40)] * 2
    return {"train": (x[twice], y[twice]), "val": (x[80:], y[80:])}
def arguments(k, split=1, **other): return parts(frame * k + split)
def folds(k=3): return [parts(np.roll(x, i * 40, axis=0)) for i in range(k)]
def folds_and_fold(fold=0): return folds()
def none(): return []
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_tables.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "my_tables"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("twice", "train has two columns 'a'"),
        ("dates", "'d' has dates or times .*leave it out of the table"),
        ("lists", "column 'm' .* row 0 is .1, 2., of type list"),
        ("mixed", "column 'm' .* row 1 is 1, of type int"),
        ("stray", r"train, column 'a' has numbers, but for 1 of 80 values: row 79 is '\?'"),
        ("gaps", "train, row 1, column 'a' is missing .*fill or drop"),
        ("kinds", "column 'a' has numbers in train and text in val"),
        ("columns", "train and val have different columns: c in only one"),
        ("order", "in different orders"),
        ("one_table", "train is a table, and val is not"),
        ("seconds", "float32.* keeps . of 80 different numbers"),
        ("prices", "`task: regression`"),
        ("copies", "rows 0 and 40 are equal"),
    ],
)
def test_tables_of_functions_that_are_refused(mine: str, name: str, words: str) -> None:
    with pytest.raises(DataError, match=f"{mine}:{name}: .*{words}"):
        opened(f"{mine}:{name}")


def test_tables_of_functions_that_are_read(mine: str) -> None:
    assert len(opened(f"{mine}:codes").divide().preprocessing.columns[3].categories or ()) > 50
    assert opened(f"{mine}:nullable").divide().info.input_shape == (3,)
    labels = opened(f"{mine}:labels").divide()
    assert (labels.info.outputs, labels.train.y.dtype) == (3, np.int64)
    assert opened({"name": f"{mine}:prices", "task": "regression"}).divide().info.outputs == 1
    assert opened({"name": f"{mine}:copies", "test": 0}).divide()
    assert opened({"name": f"{mine}:copies", "split": "distinct"}).divide()


@pytest.mark.parametrize(
    "keys", [{"args": {"k": 2, "split": 3, "task": 1}}, {"k": 2, "args": {"split": 3}}]
)
def test_a_function_gets_its_arguments(mine: str, keys: dict[str, Any]) -> None:
    config = {"name": "function", "path": f"{mine}:arguments", "test": 0, **keys}
    if "test" in config:
        config = {**config, "args": {**config["args"], "test": 0}, "test": None}
    low = opened(config).divide().preprocessing.columns[0].mean
    other = opened({**config, "args": {**config["args"], "split": 4}}).divide()
    assert other.preprocessing.columns[0].mean == pytest.approx(low + 1, abs=0.2)


def test_an_argument_is_given_once(mine: str) -> None:
    with pytest.raises(ValidationError, match="'k' is given twice"):
        opened({"name": f"{mine}:arguments", "k": 1, "args": {"k": 1}})


def test_a_list_of_folds_is_taken_in_turn(mine: str) -> None:
    rows = opened({"name": f"{mine}:folds", "args": {"k": 3}})
    assert rows.redraws
    rows.check_replicates(7)
    parts = [{r.tobytes() for r in rows.divide(n).val.x} for n in range(4)]
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    tests = [rows.divide(n).test for n in range(3)]
    assert all(t is not None and np.array_equal(t.x, tests[0].x) for t in tests if tests[0])
    with pytest.raises(Exception, match="has an argument `fold` and returns a list of folds"):
        opened(f"{mine}:folds_and_fold")
    with pytest.raises(Exception, match=r"returned a list of 0; .* or a list of dicts"):
        opened(f"{mine}:none")


# Folds of rows.


@pytest.mark.parametrize("split", ["stratified", "distinct", "group"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_row_is_validated_on_once_in_k_folds(csv: Csv, split: str, task: str) -> None:
    table = PLAIN.assign(a=np.arange(ROWS), patient=np.arange(ROWS) // 4)
    by = {"by": "patient", "keep": True} if split == "group" else {}
    rows = opened(csv(table, split={"name": split, "folds": 5, **by}, task=task, test=0.25))
    rows.check_replicates(9)
    folds = [rows.divide(n) for n in range(10)]
    assert {len(s.val) + len(s.train) for s in folds} == {180}
    for first in (0, 5):
        seen = [_identify(s) for s in folds[first : first + 5]]
        assert sum(map(len, seen)) == len(set.union(*seen)) == 180
    assert _identify(folds[0]) != _identify(folds[5])


def _identify(splits: Splits) -> set[float]:
    """Which rows are validated on, by a number in the units of the file."""
    column = splits.preprocessing.columns[0]
    return set((splits.val.x[:, 0] * column.scale + column.mean).round().tolist())


def test_too_few_rows_for_the_folds(csv: Csv) -> None:
    table = PLAIN.assign(label=["rare"] * 4 + ["often"] * 236)
    with pytest.raises(DataError, match="'rare' has 4 rows, too few for each of 6 splits"):
        opened(csv(table, split={"name": "stratified", "folds": 5}))


# What is told.


def test_a_wrong_guess_is_seen_at_once(csv: Csv) -> None:
    config = ADAPTER.validate_python(
        csv(with_texts(c=["red", "green"]), split={"name": "stratified", "folds": 5})
    )
    rows = open_rows(config)
    told = dict(describe_data(config, rows, rows.divide()))
    assert told["inputs"] == (
        "table of 3 columns, 4 inputs: 2 numbers, standardised; 1 category, one-hot: c (2)"
    )
    counts = np.bincount(LABEL)
    assert told["targets"] == f"2 classes: 0 ({counts[0]}), 1 ({counts[1]})"
    assert told["task"].endswith("whole numbers; if they are amounts, set `task: regression`")
    assert told["division"].startswith("5 folds, stratified: the search validates on the first")


@pytest.mark.parametrize(
    ("target", "keys", "words"),
    [
        (A, {}, ("regression, guessed: the targets are floats", "1 number for a sample, stand")),
        (LABEL * 1.0, {"task": "regression"}, ("regression, as `task` says", "mean 0.5")),
        (np.where(LABEL, "x", "y"), {}, ("classification, guessed: the targets are text", "x (")),
        (LABEL > 0, {}, ("classification, guessed: the targets are booleans", "False (")),
    ],
)
def test_task_and_targets_are_told(csv: Csv, target: Any, keys: Any, words: Any) -> None:
    config = ADAPTER.validate_python(csv(PLAIN.assign(label=target), **keys))
    rows = open_rows(config)
    told = dict(describe_data(config, rows, rows.divide()))
    assert told["task"].startswith(words[0])
    assert words[1] in told["targets"]


def test_validate_and_the_summary_of_a_sweep_say_how_data_were_read(
    csv: Csv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    data = csv(PLAIN.assign(a=PLAIN.a.where(PLAIN.index >= 3)), missing="drop")
    spec = parse(
        data={**data, "path": str(csv.path)},
        model={"hidden": [4]},
        training={"max_epochs": 1},
        budget={"trials": 1},
        confirm="off",
        objective={"metric": "val/accuracy"},
        resources={"executor": "local", "concurrent": 1},
    )
    table = build_spec_table(spec, run_preflight(spec, "the spec"))
    told = dict(zip(*(column.cells for column in table.columns), strict=True))
    assert told["dropped"] == "3 of 240 rows, with missing values in a (3)"
    assert told["objective"].startswith("val/accuracy, higher is better; early stopping: val/loss")
    sweep = gapsweep.run(spec, home=tmp_path / "home")
    assert "dropped: 3 of 240 rows, with missing values in a (3)" in str(sweep.report())
    (summary,) = (tmp_path / "home").glob("sweeps/*/summary.json")
    assert "dropped: 3 of 240 rows" in summary.read_text()
