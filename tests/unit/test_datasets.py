"""Data sets, files and functions: split, encoded on the training split alone, or refused."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from trainables.config.data import DataChoice
from trainables.config.data_info import Kind, Task
from trainables.data.datasets import load, open_rows
from trainables.data.splits import Splits
from trainables.errors import TrainableError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DataChoice)


def loaded(config: Any) -> Splits:
    return load(ADAPTER.validate_python(config))


def table(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(5, 3, rows), "b": rng.choice(["x", "y"], rows)})
    frame["label"] = np.where(frame.a > 5, "high", "low")
    frame["price"] = 1000.0 * frame.a
    frame["is_x"], frame["is_big"] = (frame.b == "x").astype(int), (frame.a > 5).astype(int)
    return frame


def idx(folder: Path, *, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("train", 50), ("t10k", 20)):
        images = rng.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        labels = (np.arange(size) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            path = folder / f"{name}-{kind}-ubyte"
            if compressed:
                path.with_name(path.name + ".gz").write_bytes(
                    gzip.compress(header + array.tobytes())
                )
            else:
                path.write_bytes(header + array.tobytes())


@pytest.mark.parametrize(
    ("name", "shape", "outputs", "sizes"),
    [
        ("digits", (1, 8, 8), 10, (1077, 360, 360)),
        ("breast_cancer", (30,), 2, (341, 114, 114)),
        ("mnist5k", (1, 28, 28), 10, (3000, 1000, 1000)),
    ],
)
def test_data_sets_that_come_with_libraries(
    name: str, shape: tuple[int, ...], outputs: int, sizes: tuple[int, ...]
) -> None:
    splits = loaded({"name": name})
    assert (splits.info.input_shape, splits.info.outputs) == (shape, outputs)
    assert splits.test is not None
    assert tuple(len(s) for s in (splits.train, splits.val, splits.test)) == sizes
    shares = np.bincount(splits.train.y) / len(splits.train)
    assert np.bincount(splits.val.y) / len(splits.val) == pytest.approx(shares, abs=0.02)


@pytest.mark.parametrize("compressed", [True, False])
def test_idx_files_bring_their_own_test_split(tmp_path: Path, compressed: bool) -> None:
    idx(tmp_path, compressed=compressed)
    splits = loaded({"name": "fashion_mnist", "folder": tmp_path, "val": 0.2})
    assert splits.test is not None
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [40, 10, 20]
    assert splits.train.x.max() <= 1


def test_training_files_are_divided_anew_unless_the_spec_keeps_the_division(tmp_path: Path) -> None:
    idx(tmp_path, compressed=False)
    source = {"name": "fashion_mnist", "folder": tmp_path}
    anew = open_rows(ADAPTER.validate_python(source))
    kept = open_rows(ADAPTER.validate_python({**source, "redraw": "given"}))
    assert (anew.redraws, kept.redraws) == (True, False)
    first = loaded(source)
    for rows, same in ((anew, False), (kept, True)):
        other = rows.divide(1)
        assert first.test is not None
        assert other.test is not None
        assert np.array_equal(other.test.x, first.test.x)
        assert np.array_equal(other.val.x, first.val.x) == same


def test_npz_whole_or_in_parts(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    np.savez(tmp_path / "whole.npz", x=x, y=y)
    whole = loaded({"name": "npz", "path": tmp_path / "whole.npz"})
    assert len(whole.train) == 24
    parts = {"x_train": x[:20], "y_train": y[:20], "x_val": x[20:], "y_val": y[20:]}
    np.savez(tmp_path / "parts.npz", **parts)
    given = loaded({"name": "npz", "path": tmp_path / "parts.npz", "test": 0})
    assert (len(given.train), len(given.val), given.test) == (20, 20, None)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("target", "task", "outputs"),
    [
        ("label", Task.CLASSIFICATION, 2),
        ("price", Task.REGRESSION, 1),
        (["is_x", "is_big"], Task.MULTILABEL, 2),
        (["a", "price"], Task.REGRESSION, 2),
    ],
)
def test_tables(tmp_path: Path, kind: str, target: Any, task: Task, outputs: int) -> None:
    path, frame = tmp_path / f"t.{kind}", table()
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    splits = loaded({"name": kind, "path": path, "target": target})
    assert (splits.info.task, splits.info.outputs, splits.info.kind) == (task, outputs, Kind.TABLE)
    assert len(splits.train) == 36


def test_scales_and_categories_are_those_of_the_training_split(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    splits = loaded({"name": "csv", "path": tmp_path / "t.csv", "target": "label"})
    assert splits.train.x[:, 0].mean() == pytest.approx(0, abs=1e-5)
    assert splits.train.x[:, 0].std() == pytest.approx(1, abs=1e-5)
    assert abs(splits.val.x[:, 0].mean()) > 1e-3


def test_the_seed_decides_the_split_and_parts_never_overlap() -> None:
    first, again, other = (loaded({"name": "digits", "seed": s}) for s in (1, 1, 2))
    assert np.array_equal(first.val.x, again.val.x)
    assert not np.array_equal(first.val.x, other.val.x)
    assert first.test is not None
    rows = [s.x.reshape(len(s), -1) for s in (first.train, first.val, first.test)]
    assert len(np.unique(np.concatenate(rows), axis=0)) == 1797


MODULE = """
import numpy as np, pandas as pd, torch
from torch.utils.data import TensorDataset
x = torch.arange(40.0).view(20, 2) * 100
y = torch.arange(20) % 2
def tensors(): return {"train": (x[:10], y[:10]), "val": (x[10:], y[10:])}
def datasets(): return {n: TensorDataset(*p) for n, p in tensors().items()}
def arrays(): return {n: (a.numpy(), b.numpy() * 1000.5) for n, (a, b) in tensors().items()}
def labels(): return {n: (a, torch.stack([b, 1 - b], 1)) for n, (a, b) in tensors().items()}
def overlapping(): return {"train": (x[:12], y[:12]), "val": (x[10:], y[10:])}
def unseen(): return {"train": (x[:10], y[:10]), "val": (x[10:], y[10:] + 1)}
def nan():
    bad = x.clone(); bad[13, 1] = float("nan")
    return {"train": (bad[:10], y[:10]), "val": (bad[10:], y[10:])}
def no_val(): return {"train": (x, y)}
def odd(): return {"train": (x, y), "val": (x, y), "tset": (x, y)}
def number(): return 3
def raises(): raise RuntimeError("the disk is gone")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_data_for_datasets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "my_data_for_datasets"


@pytest.mark.parametrize("name", ["tensors", "datasets"])
def test_a_functions_numbers_are_left_as_they_are(mine: str, name: str) -> None:
    splits = loaded({"name": f"{mine}:{name}", "test": 0})
    assert splits.train.x[1].tolist() == [200.0, 300.0]
    assert (splits.info.task, splits.test) == (Task.CLASSIFICATION, None)


def test_a_functions_targets_tell_the_task(mine: str) -> None:
    regression, labels = loaded(f"{mine}:arrays"), loaded(f"{mine}:labels")
    assert (regression.info.task, regression.train.y.max()) == (Task.REGRESSION, 1000.5)
    assert (labels.info.task, labels.info.outputs) == (Task.MULTILABEL, 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("overlapping", "row 0 of val equals row 10 of train"),
        ("unseen", "val has classes that the training split lacks: 2"),
        ("nan", "val, row 3: the input is NaN"),
        ("no_val", "returned no 'val'"),
        ("odd", "'tset'; valid: train, val, test"),
        ("number", "returned an int; return a dict"),
        ("raises", "RuntimeError: the disk is gone"),
        ("lables", "did you mean 'labels'"),
    ],
)
def test_what_a_function_must_not_return(mine: str, name: str, words: str) -> None:
    with pytest.raises(TrainableError, match=words):
        loaded(f"{mine}:{name}")


def test_overlap_may_be_allowed(mine: str) -> None:
    config = {"name": "function", "path": f"{mine}:overlapping", "allow_overlap": True, "test": 0}
    assert len(loaded(config).val) == 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.assign(label="low"), "only one class"),
        (lambda f: f.head(3), "too few"),
        (lambda f: f.rename(columns={"label": "lable"}), "did you mean 'lable'"),
        (lambda f: f.assign(a=f.a.where(f.index != 7)), "row 7, column 'a' is missing"),
        (lambda f: f.assign(label=f.label.where(f.index != 4)), "row 4 has no target"),
    ],
)
def test_tables_that_cannot_be_trained_on(tmp_path: Path, change: Any, words: str) -> None:
    change(table()).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(TrainableError, match=words):
        loaded({"name": "csv", "path": tmp_path / "t.csv", "target": "label"})


@pytest.mark.parametrize("name", ["npz", "csv", "parquet"])
def test_files_that_are_not_there_or_not_what_they_say(tmp_path: Path, name: str) -> None:
    config = {"name": name, "path": tmp_path / "data", "target": "y"}
    if name == "npz":
        del config["target"]
    with pytest.raises(TrainableError, match="no such file"):
        loaded(config)
    (tmp_path / "data").write_bytes(b"\x00\xff\x00 nothing of the kind\n")
    with pytest.raises(TrainableError, match=r"cannot be read as|has no column"):
        loaded(config)
