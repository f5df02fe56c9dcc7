"""Splits that are read lazily: what their first samples show, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from trainables.config.data_info import DataInfo, Task
from trainables.data.encoding import find_kind
from trainables.data.lazy import LazySplit, StreamSplit
from trainables.data.lazy_samples import StreamSamples
from trainables.data.nests import Nest, list_leaves, map_nest
from trainables.data.notes import count
from trainables.data.preprocessing import Preprocessing
from trainables.data.raw import Array, Raw
from trainables.data.reading import LazyReader, Pair, conform
from trainables.data.returned_splits import Part
from trainables.data.splits import Splits, find_shape
from trainables.data.tasks import guess_task
from trainables.errors import DataError

LOOKED_AT = 64
"""Samples of a split that are read to learn what it has."""
_READ_TWICE = 8
Lazy = LazySplit | StreamSplit


def build_splits(parts: Mapping[str, Part], task: Task | None) -> Splits:
    """Splits that are read while they are needed, and what their first samples show.

    Raises:
        DataError: the splits have samples of several types.
        ContractError: the user's code failed, or returned something else.
    """
    lazy = {name: _make_lazy(name, part) for name, part in parts.items()}
    heads = {name: read_head(split, LOOKED_AT) for name, split in lazy.items()}
    _check_types(heads)
    lazy = {n: _find_variation(s) if isinstance(s, LazySplit) else s for n, s in lazy.items()}
    x, y = (map_nest(_to_array, side) for side in heads["train"])
    known = [s for s in lazy.values() if isinstance(s, LazySplit)]
    targets = [found for s in known if (found := s.find_targets()) is not None]
    targets = [t for t in targets if isinstance(y, np.ndarray) and t.dtype.kind == y.dtype.kind]
    task = task or guess_task(targets[0] if targets else y)
    ends = [map_nest(_to_array, pair[1]) for pair in heads.values()]
    outputs, classes = _count_outputs(task, y, [*targets, *ends], lazy["train"])
    return Splits(
        lazy["train"],
        lazy["val"],
        lazy.get("test"),
        DataInfo(find_shape(x), task, outputs, find_kind(x)),
        Preprocessing(classes=classes),
        tuple(_describe(lazy)),
    )


def check_positions(splits: Splits) -> None:
    """Check that no two splits have the same positions of one ``Dataset``; reads no sample.

    Raises:
        DataError: they have.
    """
    named = (("train", splits.train), ("val", splits.val), ("test", splits.test))
    found = [(n, *_find_positions(s.dataset)) for n, s in named if isinstance(s, LazySplit)]
    for (one, whole, places), (other, of, others) in combinations(found, 2):
        shared = np.intersect1d(places, others) if whole is of else np.array([])
        if len(shared):
            raise DataError(
                f"{one} and {other} share {count(len(shared), 'sample')} of one Dataset, such as "
                f"number {shared[0]}, so a gap between them is meaningless; divide its positions, "
                "or set `allow_overlap: true` in data if equal samples are expected"
            )


def _find_positions(dataset: Any) -> tuple[Any, Array]:
    """The dataset that others are subsets of, and the positions of the samples in it."""
    if not isinstance(dataset, Subset):
        return dataset, np.arange(len(dataset))
    whole, places = _find_positions(dataset.dataset)
    return whole, places[np.asarray(dataset.indices, dtype=np.int64)]


def read_head(split: Lazy, count: int) -> Pair:
    """Samples spread over a split, or the first ones of a stream, in one batch on the CPU.

    Raises:
        ContractError: the user's code failed, or returned something else.
    """
    if isinstance(split, StreamSplit):
        return StreamSamples(split, "cpu").head(count)
    return LazyReader(split).read_here([0, *_spread(split, count)])


def _spread(split: LazySplit, count: int) -> list[int]:
    places = np.linspace(0, len(split) - 1, min(count, len(split))).round()
    return [int(place) for place in places]


class _Rows(Dataset[Any]):
    """Arrays as a dataset, beside splits that are read lazily."""

    def __init__(self, raw: Raw) -> None:
        self._x, self.targets = raw.x, raw.y

    def __len__(self) -> int:
        return len(next(list_leaves(self.targets)))

    def __getitem__(self, index: int) -> Any:
        x, y = (map_nest(lambda leaf: torch.as_tensor(leaf[index]), s) for s in self._sides())
        return x, y

    def _sides(self) -> tuple[Nest, Nest]:
        return self._x, self.targets


def _make_lazy(name: str, part: Part) -> Lazy:
    if isinstance(part, Raw):
        if isinstance(part.x, pd.DataFrame):
            raise DataError(
                f"{name} is a table and another split a Dataset; give arrays, or Datasets for all"
            )
        return LazySplit(name, "the data function", _Rows(part))
    return part


def _find_variation(split: LazySplit) -> LazySplit:
    """The split, with whether its samples are others when they are read again."""
    reader, places = LazyReader(split), _spread(split, _READ_TWICE)
    first, second = (reader.read_here([seed, *places]) for seed in (1, 2))
    pairs = zip(list_leaves(first), list_leaves(second), strict=True)
    return replace(split, varies=not all(torch.equal(a, b) for a, b in pairs))


def _check_types(heads: Mapping[str, Pair]) -> None:
    types = {n: [str(leaf.dtype)[6:] for leaf in list_leaves(pair)] for n, pair in heads.items()}
    for name, found in types.items():
        if found != types["train"]:
            raise DataError(
                f"a sample of train is {', '.join(types['train'])}, one of {name} "
                f"{', '.join(found)}: give one type"
            )


def _to_array(leaf: Tensor) -> Array:
    array: Array = conform(leaf).numpy()
    return array


def _count_outputs(
    task: Task, y: Nest, seen: list[Nest], train: Lazy
) -> tuple[int, tuple[Any, ...]]:
    """The number of outputs, and the names of classes."""
    if not isinstance(y, np.ndarray) or task is Task.OTHER:
        return 0, ()
    if task is not Task.CLASSIFICATION:
        return int(np.prod(y.shape[1:])) or 1, ()
    names = getattr(getattr(train, "dataset", None), "classes", None)
    named = tuple(names) if isinstance(names, list | tuple) else ()
    count = max(2, len(named), *(int(np.max(part)) + 1 for part in seen))
    if y.size > len(y):
        return count, ()
    return count, named if len(named) == count else tuple(range(count))


def _describe(lazy: Mapping[str, Lazy]) -> Iterator[str]:
    """How the splits are read, in sentences."""
    for how, names in _group(lazy).items():
        yield f"{', '.join(names)}: {how}"
    train = lazy["train"]
    if isinstance(train, StreamSplit):
        yield "gap: its training side is measured on the first samples of the stream"
    elif train.varies and _find_variation(train.evaluated()).varies:
        yield (
            "gap: its training side is measured with the transforms of the training on, because "
            "train gives another sample at each reading; return train_eval to measure without"
        )
    if any(isinstance(s, LazySplit) and s.varies for n, s in lazy.items() if n != "train"):
        yield "val or test gives another sample at each reading; the same seeds are used each time"
    yield "splits are not compared for equal samples, only for positions of one Dataset"


def _group(lazy: Mapping[str, Lazy]) -> dict[str, list[str]]:
    """The names of splits by how they are read."""
    groups: dict[str, list[str]] = {}
    for name, split in lazy.items():
        groups.setdefault(_describe_reading(split), []).append(name)
    return groups


def _describe_reading(split: Lazy) -> str:
    if isinstance(split, StreamSplit):
        return "a stream in its own order, of which only the seeds are the trial's"
    workers = split.loading.workers
    return f"each sample is read when it is needed, by {workers or 'no'} workers"
