"""Arrays and tables of other libraries in data functions are read, or refused by name."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch

from tests.specs import parse
from trainables.data.datasets import load, open_rows
from trainables.data.description import describe_data
from trainables.data.splits import Split, Splits
from trainables.errors import ContractError, DataError

N = 40
_NUMBERS = np.random.default_rng(0).normal(size=(N, 3))
_LABELS = np.arange(N) % 2


def _read(x: Any, y: Any = _LABELS) -> Splits:
    return _load(lambda: {"train": (x[:20], y[:20]), "val": (x[20:], y[20:])})


def _read_train(x: Any, y: Any = _LABELS) -> Split:
    train = _read(x, y).train
    assert isinstance(train, Split)
    return train


def _load(returned: Callable[[], Any]) -> Splits:
    globals()["returned"] = returned
    return load(_spec().data)


def _spec() -> Any:
    return parse(data={"name": f"{__name__}:returned", "allow_overlap": True, "test": 0})


def test_an_arrow_table_is_encoded_as_a_pandas_one() -> None:
    table = pd.DataFrame({"a": _NUMBERS[:, 0], "b": ["u", "v"] * (N // 2)})
    read = _read_train(pa.Table.from_pandas(table), pa.array(_LABELS))
    same = _read_train(table)
    assert np.array_equal(read.x, same.x)
    assert np.array_equal(read.y, same.y)


def test_objects_that_are_all_numbers_are_numbers() -> None:
    read = _read_train(_NUMBERS.astype(object), _LABELS.astype(object))
    assert np.array_equal(read.x, _NUMBERS[:20].astype(np.float32))
    assert np.array_equal(read.y, _LABELS[:20])


def test_an_object_that_holds_no_samples_is_named_by_its_type() -> None:
    with pytest.raises(ContractError, match=r"'train' has one value, a Namespace, in place of"):
        _load(lambda: {"train": (Namespace(x=_NUMBERS), _LABELS), "val": (_NUMBERS, _LABELS)})


def _mask() -> Any:
    return np.ma.masked_greater(_NUMBERS, 0)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "sparse": (
        lambda: scipy.sparse.csr_matrix(_NUMBERS),
        r"returned: 'train' has a csr_matrix, which is sparse; use its toarray\(\)$",
    ),
    "masked": (_mask, r"'train' has an array with \d+ masked values; fill them"),
    "text": (
        lambda: np.where(_NUMBERS > 0, "u", "v"),
        r"arrays must be of numbers, not of <U1; a table with text may be a pandas DataFrame",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_that_are_no_plain_numbers_are_refused_by_name(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises((ContractError, DataError), match=words):
        _read(make())


def test_a_sparse_tensor_is_refused_by_name() -> None:
    part = torch.tensor(_NUMBERS).to_sparse(), torch.tensor(_LABELS)
    with pytest.raises(ContractError, match=r"'train' has .* sparse; use its to_dense\(\)$"):
        _load(lambda: {"train": part, "val": part})


def test_an_error_of_torch_that_lists_every_backend_is_cut() -> None:
    with pytest.raises(DataError, match=r"raised NotImplementedError: .*… \(") as caught:
        _read(torch.tensor(_NUMBERS).to_sparse())
    assert len(str(caught.value)) < 800


def test_a_masked_array_without_masked_values_is_read() -> None:
    assert len(_read_train(np.ma.masked_array(_NUMBERS))) == 20


def _tell(y: Any) -> str:
    read, config = _read(_NUMBERS, y), _spec().data
    return " ".join(map(str, describe_data(config, open_rows(config), read)))


def test_numbers_that_no_sample_has_as_its_class_are_told() -> None:
    assert "3 classes: 1 (20), 2 (20); no sample of 0" in _tell(_LABELS + 1)
    assert "no sample of" not in _tell(_LABELS)


def test_labels_that_may_be_one_hot_classes_are_doubted() -> None:
    words = "each sample has one 1: if they are classes, give their numbers"
    assert words in _tell(np.eye(2)[_LABELS])
    labels = np.eye(2)[_LABELS]
    labels[0] = 1
    assert words not in _tell(labels)
