"""Tables are encoded as scikit-learn's transformers of whole tables do it, to the last bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trainables.config.data_info import Task
from trainables.data.encoding import prepare
from trainables.data.raw import Raw

N = 90


def draw(kinds: tuple[str, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(len(kinds))
    columns = {}
    for kind in kinds:
        doubles = rng.normal(100, 0.1, N)
        columns[kind] = {
            "double": doubles,
            "float": doubles.astype(np.float32),
            "whole": rng.integers(-50, 50, N),
            "flag": rng.random(N) > 0.5,
            "nullable": pd.array(rng.integers(0, 9, N), dtype="Int64"),
            "missing": np.where(rng.random(N) < 0.2, np.nan, doubles),
            "word": rng.choice(["a", "b", "c"], N),
            "category": pd.Categorical(rng.choice(["x", "y"], N)),
        }[kind]
    return pd.DataFrame(columns)


def encode(parts: dict[str, pd.DataFrame]) -> dict[str, NDArray[np.float32]]:
    train = parts["train"]
    numbers = [c for c in train if pd.api.types.is_numeric_dtype(train[c])]
    words = [c for c in train if c not in numbers]
    doubles = {c: np.float64 for c in numbers if train[c].dtype != np.float32}
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    flags = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoder = ColumnTransformer(
        [("numbers", make_pipeline(imputer, StandardScaler()), numbers), ("words", flags, words)]
    ).fit(train.astype(doubles))
    return {
        n: encoder.transform(x.astype(doubles)).astype(np.float32, order="K")
        for n, x in parts.items()
    }


@pytest.mark.parametrize(
    "kinds",
    [
        ("double", "missing"),
        ("float",),
        ("double", "whole", "flag"),
        ("double", "float", "nullable"),
        ("word", "category"),
        ("category", "missing", "float", "word", "whole"),
    ],
    ids=",".join,
)
def test_numbers_and_their_memory_layout_are_those_of_a_column_transformer(
    kinds: tuple[str, ...],
) -> None:
    frame = draw(kinds)
    parts = {"train": frame[:50], "val": frame.iloc[50:80], "test": frame.iloc[[*range(80, 90)]]}
    raw = {n: Raw(x, np.arange(len(x), dtype=np.float64)) for n, x in parts.items()}
    made = prepare(raw, Task.REGRESSION)
    for name, expected in encode(parts).items():
        got = getattr(made, name).x
        assert (got == expected).all()
        assert got.strides == expected.strides  # else the bits of sums over them may differ
