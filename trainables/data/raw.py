"""Samples as a source gives them, before any encoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.data.nests import Nest, count_samples, list_leaves, map_nest
from trainables.errors import DataError

Array = NDArray[np.generic]
Indices = NDArray[np.int64]
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class Raw:
    """Inputs as a table, or as a nest of arrays with samples on the first axis; targets likewise.

    ``by`` is what the splitter divides by, one value per sample, where the spec names a column.
    ``identity`` is a hash of each row of a file, with columns that are not inputs; samples
    that have been divided have none.
    """

    x: pd.DataFrame | Nest
    y: Nest
    by: Array | None = None
    identity: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return count_samples(self.y)

    def rows(self, indices: Indices) -> Raw:
        """Some of the samples."""
        if isinstance(self.x, pd.DataFrame):
            x: Nest = self.x.iloc[indices]
        else:
            x = map_nest(lambda leaf: leaf[indices], self.x)
        y = map_nest(lambda leaf: leaf[indices], self.y)
        return Raw(x, y, None if self.by is None else self.by[indices])

    def hashes(self) -> Iterator[bytes]:
        """A digest of each sample, input and target together, as the network would get them."""
        if isinstance(self.x, pd.DataFrame):
            rows: Array = pd.util.hash_pandas_object(self.x, index=False).to_numpy()
            inputs = [rows]
        else:
            inputs = [_as_numbers(leaf) for leaf in list_leaves(self.x)]
        targets = [_as_numbers(leaf) for leaf in list_leaves(self.y)]
        return hash_rows([*inputs, *targets])


def hash_rows(columns: Sequence[Array]) -> Iterator[bytes]:
    """A digest of each row of some arrays of equal length."""
    for row in zip(*columns, strict=True):
        content = b"".join(np.asarray(value).tobytes() for value in row)
        yield blake2b(content, digest_size=16).digest()


def join(parts: Sequence[Raw]) -> Raw:
    """The samples of several parts, one after the other.

    Raises:
        DataError: their columns, shapes or types differ.
    """
    by = [p.by for p in parts if p.by is not None]
    return Raw(
        _join_inputs([p.x for p in parts]),
        _join_nests("targets", [p.y for p in parts]),
        np.concatenate(by) if len(by) == len(parts) else None,
    )


def _join_inputs(parts: Sequence[pd.DataFrame | Nest]) -> pd.DataFrame | Nest:
    tables = [p for p in parts if isinstance(p, pd.DataFrame)]
    if not tables:
        return _join_nests("inputs", parts)
    columns = list(tables[0].columns)
    if len(tables) < len(parts) or any(list(t.columns) != columns for t in tables):
        raise DataError("the parts of the data cannot be pooled: their columns differ")
    return pd.concat(tables, ignore_index=True)


def _join_nests(what: str, parts: Sequence[Nest]) -> Nest:
    return map_nest(lambda *leaves: _join_arrays(what, leaves), *parts)


def _join_arrays(what: str, parts: Sequence[Array]) -> Array:
    if len({(p.shape[1:], p.dtype.kind) for p in parts}) > 1:
        kinds = " and ".join(f"{p.dtype} {p.shape}" for p in parts)
        raise DataError(f"the parts of the data cannot be pooled: their {what} are {kinds}")
    return np.concatenate(parts)


def _as_numbers(values: Array) -> Array:
    number = np.issubdtype(values.dtype, np.number)
    return np.ascontiguousarray(values, dtype=np.float32 if number else None)
