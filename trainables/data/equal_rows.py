"""Rows that are equal, which two splits must not share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trainables.data.hashing import Hashes, hash_samples, mix
from trainables.data.nests import list_leaves
from trainables.data.notes import count
from trainables.data.raw import Indices, Raw
from trainables.errors import DataError


def number_contents(parts: Sequence[Raw]) -> list[Indices]:
    """A number for each sample of each part, which only equal samples share."""
    hashes = np.concatenate([_hash(part) for part in parts])
    numbers = np.unique(hashes, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.split(numbers, np.cumsum([len(part) for part in parts])[:-1])


def refuse_equal_rows(raw: Raw, source: str) -> None:
    """Check that samples are different before they are divided at random.

    Raises:
        DataError: two are equal, inputs and target together.
    """
    hashes = _hash(raw)
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    pairs = sorted((order[i : i + 2].tolist() for i in same), key=max)
    pair = next((pair for pair in pairs if _are_equal(raw, *pair)), None)
    if pair is None:
        return
    first, second = (raw.x.index[i] if isinstance(raw.x, pd.DataFrame) else i for i in sorted(pair))
    raise DataError(
        f"{source}: rows {first} and {second} are equal, and {count(len(same), 'row')} of "
        f"{len(raw):,} repeat another one, so that training, validation and test rows would share "
        "them: remove the copies, keep equal rows in one part with `split: distinct`, or set "
        "`allow_overlap: true` if they are different samples that have equal values"
    )


def _hash(raw: Raw) -> Hashes:
    if raw.identity is not None:
        return raw.identity
    return mix(hash_samples(raw.x), hash_samples(raw.y))


def _are_equal(raw: Raw, one: int, two: int) -> bool:
    """Whether two samples of arrays are equal and not only their hashes; tables hash well."""
    if raw.identity is not None or isinstance(raw.x, pd.DataFrame):
        return True
    leaves = [*list_leaves(raw.x), *list_leaves(raw.y)]
    return all(leaf[one].tobytes() == leaf[two].tobytes() for leaf in leaves)
