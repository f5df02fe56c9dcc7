"""Samples as a source gives them, before any encoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.errors import DataError

Array = NDArray[np.generic]
Indices = NDArray[np.int64]
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class Raw:
    """Inputs as a table, or as an array with samples on the first axis; one target per sample.

    ``by`` is what the splitter divides by, one value per sample, where the spec names a column.
    """

    x: pd.DataFrame | Array
    y: Array
    by: Array | None = None

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, indices: Indices) -> Raw:
        """Some of the samples."""
        x = self.x.iloc[indices] if isinstance(self.x, pd.DataFrame) else self.x[indices]
        return Raw(x, self.y[indices], None if self.by is None else self.by[indices])

    def hashes(self) -> Iterator[bytes]:
        """A digest of each sample, input and target together, as the network would get them."""
        y = _as_numbers(self.y)
        if isinstance(self.x, pd.DataFrame):
            x: Array = pd.util.hash_pandas_object(self.x, index=False).to_numpy()
        else:
            x = _as_numbers(self.x)
        for row, target in zip(x, y, strict=True):
            yield blake2b(row.tobytes() + target.tobytes(), digest_size=16).digest()


def join(parts: Sequence[Raw]) -> Raw:
    """The samples of several parts, one after the other.

    Raises:
        DataError: their columns, shapes or types differ.
    """
    by = [p.by for p in parts if p.by is not None]
    return Raw(
        _join_inputs([p.x for p in parts]),
        _join_arrays("targets", [p.y for p in parts]),
        np.concatenate(by) if len(by) == len(parts) else None,
    )


def _join_inputs(parts: Sequence[pd.DataFrame | Array]) -> pd.DataFrame | Array:
    tables = [p for p in parts if isinstance(p, pd.DataFrame)]
    if not tables:
        return _join_arrays("inputs", [np.asarray(p) for p in parts])
    columns = list(tables[0].columns)
    if len(tables) < len(parts) or any(list(t.columns) != columns for t in tables):
        raise DataError("the parts of the data cannot be pooled: their columns differ")
    return pd.concat(tables, ignore_index=True)


def _join_arrays(what: str, parts: Sequence[Array]) -> Array:
    if len({(p.shape[1:], p.dtype.kind) for p in parts}) > 1:
        kinds = " and ".join(f"{p.dtype} {p.shape}" for p in parts)
        raise DataError(f"the parts of the data cannot be pooled: their {what} are {kinds}")
    return np.concatenate(parts)


def _as_numbers(values: Array) -> Array:
    number = np.issubdtype(values.dtype, np.number)
    return np.ascontiguousarray(values, dtype=np.float32 if number else None)
