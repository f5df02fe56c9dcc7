"""Hashes of 64 bits for every sample of an array or a table, fast and not cryptographic."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.data.nests import list_leaves

Hashes = NDArray[np.uint64]
_CHUNK = 1 << 24
"""Bytes that are hashed at a time."""


def hash_samples(values: Any) -> Hashes:
    """64 bits for each sample of a table, or of a nest of arrays."""
    if isinstance(values, pd.DataFrame):
        return _hash_table(values)
    return reduce(mix, (_hash_array(leaf) for leaf in list_leaves(values)))


def _hash_array(array: NDArray[Any]) -> Hashes:
    if array.dtype.kind not in "biufc":  # texts, times, objects
        return _hash_table(pd.DataFrame(array.reshape(len(array), -1)))
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    size = max(1, _CHUNK // max(1, flat[:1].nbytes))
    chunks = [_hash_numbers(flat[i : i + size]) for i in range(0, len(flat), size)]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.uint64)


def _hash_table(table: pd.DataFrame) -> Hashes:
    hashes = pd.util.hash_pandas_object(table, index=False)
    return np.asarray(hashes.to_numpy(), np.uint64)


def _hash_numbers(rows: NDArray[Any]) -> Hashes:
    """Sums of the eight-byte words of each row, each times an odd random number, modulo 2⁶⁴."""
    raw = rows.view(np.uint8).reshape(len(rows), -1)
    padded = np.pad(raw, ((0, 0), (0, -raw.shape[1] % 8)))
    words = np.ascontiguousarray(padded).view(np.uint64)
    factors: Hashes = np.random.default_rng(0).integers(0, 2**64, words.shape[1], np.uint64)
    factors |= np.uint64(1)
    hashes: Hashes = ((words ^ (words >> np.uint64(32))) * factors).sum(axis=1, dtype=np.uint64)
    return hashes


def mix(first: Hashes, second: Hashes) -> Hashes:
    """One hash of two of each sample."""
    factors = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
    mixed = first * factors[0] ^ (second * factors[1] + (first >> np.uint64(29)))
    return mixed ^ (mixed >> np.uint64(32))
