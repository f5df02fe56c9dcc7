"""Digests of the samples of a sweep, by which a change of its data is noticed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd

from trainables.data.hashing import Hashes, hash_samples, mix
from trainables.data.lazy import LazySplit, StreamSplit
from trainables.data.lazy_rows import LazyRows
from trainables.data.lazy_splits import read_head
from trainables.data.nests import list_leaves, map_nest
from trainables.data.raw import Raw
from trainables.data.rows import Rows
from trainables.data.splits import Split, Splits, find_shape

_LOOKED_AT = 64


def digest_rows(rows: Rows) -> dict[str, str]:
    """The number of samples, and digests of their inputs, their targets and their order.

    ``inputs`` and ``targets`` do not depend on the order, because other targets may divide the
    samples in another way; ``targets`` are those of the inputs, so that labels that were swapped
    are others. ``groups`` are the values of the column that divides the samples, if there is one.
    """
    parts = list(_list_parts(rows))
    if not parts:
        return {}
    inputs = np.concatenate([hash_samples(part.x) for part in parts])
    both = mix(inputs, np.concatenate([hash_samples(part.y) for part in parts]))
    digests = {
        "samples": str(sum(_count(rows)) or len(inputs)),
        "inputs": _digest(np.sort(inputs), *(_describe(part.x) for part in parts)),
        "targets": _digest(np.sort(both)),
    }
    groups = [part.by for part in parts if isinstance(part, Raw) and part.by is not None]
    if sum(map(len, groups)) == len(inputs):
        columns = np.concatenate([hash_samples(column) for column in groups])
        digests["groups"] = _digest(np.sort(mix(inputs, columns)))
    return {**digests, "order": _digest(both)}


def _list_parts(value: object) -> Iterator[Raw | Split]:
    """The samples in a field of rows, or in rows themselves, in a fixed order."""
    match value:
        case Raw() | Split():
            yield value
        case LazySplit() | StreamSplit():
            yield _read_some(value)
        case Splits():
            for part in (value.train, value.val, value.test):
                yield from _list_parts(part)
        case Mapping():
            for name in sorted(value):
                yield from _list_parts(value[name])
        case Rows():
            for field in fields(value):
                yield from _list_parts(getattr(value, field.name))


def _read_some(split: LazySplit | StreamSplit) -> Raw:
    """Some samples of a split that is read lazily; only targets where samples vary.

    So they do with transforms, and of a stream that owns its order.
    """
    x, y = (map_nest(lambda leaf: leaf.numpy(), side) for side in read_head(split, _LOOKED_AT))
    steady = isinstance(split, LazySplit) and not split.varies
    aligned = all(len(leaf) == len(next(list_leaves(y))) for leaf in list_leaves(x))
    return Raw(x if steady and aligned else y, y)


def _count(rows: Rows) -> Iterator[int]:
    """The numbers of samples of splits that are read lazily."""
    if isinstance(rows, LazyRows):
        splits = (rows.first.train, rows.first.val, rows.first.test)
        yield from (len(split) for split in splits if isinstance(split, LazySplit))


def _describe(inputs: Any) -> str:
    """What is common to all samples: names of columns, or the shape of one sample."""
    if isinstance(inputs, pd.DataFrame):
        return repr(list(inputs.columns))
    return str(find_shape(inputs))


def _digest(hashes: Hashes, *words: str) -> str:
    digest = blake2b(hashes.tobytes(), digest_size=16)
    for word in words:
        digest.update(word.encode("utf-8", "backslashreplace"))
    return digest.hexdigest()
