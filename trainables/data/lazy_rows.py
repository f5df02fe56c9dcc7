"""Rows of a data function that returns a ``Dataset``, a stream or a ``DataLoader``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainables.config.data_info import DataInfo, Task
from trainables.data.division import hold_out
from trainables.data.encoding import find_kind
from trainables.data.functions import DataFunction, Part
from trainables.data.lazy import LazySplit, StreamSplit
from trainables.data.lazy_samples import StreamSamples
from trainables.data.nests import Nest, list_leaves, map_nest
from trainables.data.preprocessing import Preprocessing
from trainables.data.raw import Array, Raw
from trainables.data.reading import LazyReader, Pair, conform
from trainables.data.rows import Rows
from trainables.data.splits import Splits, find_shape
from trainables.data.splitters.base import Draw
from trainables.data.splitters.build import Rule
from trainables.data.tasks import guess_task
from trainables.errors import DataError

_LOOKED_AT = 64
_READ_TWICE = 8
Lazy = LazySplit | StreamSplit


@dataclass(frozen=True)
class LazyRows(Rows):
    """The function divides; ``first`` is what its first call returned.

    Test samples are those of the first call, or a part of its validation samples.
    """

    function: DataFunction
    first: Splits
    gives_test: bool
    task: Task | None
    varies: bool = False

    @property
    def redraws(self) -> bool:
        """Whether the function is called anew for every replicate."""
        return self.varies

    @property
    def tested(self) -> bool:
        """Whether test samples were returned or set aside."""
        return self.first.test is not None

    def divide(self, replicate: int = 0, *, redraw_test: bool = False) -> Splits:
        """The splits of a call for this replicate, with the test samples of the first call."""
        if not replicate or not self.redraws:
            return self.first
        made = build_splits(self.function.call(replicate), self.task)
        return made if redraw_test and self.gives_test else replace(made, test=self.first.test)

    def check_replicates(self, count: int) -> frozenset[int]:
        """Call the function for the last replicate only, since a call may take long."""
        if count and self.redraws:
            self.divide(count)
        return frozenset()


def open_lazily(
    function: DataFunction,
    parts: Mapping[str, Part],
    task: Task | None,
    rule: Rule,
    *,
    varies: bool = False,
) -> LazyRows:
    """The rows of a function whose first call returned ``parts``, and others if it ``varies``.

    Raises:
        DataError: the parts do not fit together, or test samples cannot be set aside.
        ContractError: the user's code failed, or returned something else.
    """
    if rule.column is not None:
        raise DataError(f"{function.path} has no columns; `by` names a column of a table")
    gives_test = "test" in parts
    splits = build_splits(parts, task)
    if function.test_is_ours and function.test and gives_test:
        raise DataError(f"{function.path} returns test rows, so `test` has no effect; leave it out")
    if not gives_test and function.test:
        if varies:
            raise DataError(
                f"{function.path} returns other samples for every replicate, which may be test "
                "samples of the first call: return the same `test` every time, or set `test: 0`"
            )
        splits = _set_aside(splits, function, rule)
    return LazyRows(function, splits, gives_test, task, varies)


def build_splits(parts: Mapping[str, Part], task: Task | None) -> Splits:
    """Splits that are read while they are needed, and what their first samples show.

    Raises:
        DataError: the splits have samples of several types.
        ContractError: the user's code failed, or returned something else.
    """
    lazy = {name: _make_lazy(name, part) for name, part in parts.items()}
    heads = {name: read_head(split, _LOOKED_AT) for name, split in lazy.items()}
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


def _set_aside(splits: Splits, function: DataFunction, rule: Rule) -> Splits:
    """Splits with test samples, which are taken from the validation samples."""
    val, train = splits.val, splits.train
    if function.varies is not None:
        raise DataError(
            f"{function.path} takes {function.varies!r} and returns no test samples, which must be "
            "the same in every call: return `test`, too, or set `test: 0`"
        )
    if isinstance(val, StreamSplit):
        return _halve(splits, val, function)
    assert isinstance(val, LazySplit)
    every = len(val) + (len(train) if isinstance(train, LazySplit) else 0)
    share = min(0.5, function.test * every / len(val))
    targets = val.find_targets()
    task = splits.info.task if targets is not None else Task.OTHER
    raw = Raw(np.arange(len(val)), np.arange(len(val)) if targets is None else targets)
    stay, held = hold_out(rule.splitter, raw, task, share, Draw(function.seed))
    note = f"test: {len(held)} samples set aside from val"
    return replace(
        splits,
        val=val.rows(stay, "val"),
        test=val.rows(held, "test"),
        notes=(*splits.notes, note),
    )


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


def _halve(splits: Splits, val: StreamSplit, function: DataFunction) -> Splits:
    """Splits with every second sample of the validation stream as test samples.

    Those of a stream in another order at each pass would mix: it is left whole.
    """
    first, second = (list_leaves(read_head(val, _LOOKED_AT)) for _ in range(2))
    if not all(torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        if function.test_is_ours:
            raise DataError(
                f"{function.path}: test samples cannot be set aside from a stream that has another "
                "order at each pass; return `test`, too"
            )
        return splits
    halves = (replace(val, name=name, half=half) for half, name in enumerate(("val", "test")))
    held, test = halves
    what = "batch" if val.owns_batches else "sample"
    note = f"test: every second {what} of val, which has the same order at each pass"
    return replace(splits, val=held, test=test, notes=(*splits.notes, note))


def _describe(lazy: Mapping[str, Lazy]) -> Iterator[str]:
    """How the splits are read, in sentences."""
    for how, names in _group(lazy).items():
        yield f"{', '.join(names)}: {how}"
    train = lazy["train"]
    if isinstance(train, StreamSplit):
        yield "gap: its training side is measured on the first samples of the stream"
    elif train.varies and train.view is None:
        yield (
            "gap: its training side is measured with the transforms of the training on, because "
            "train gives another sample at each reading; return train_eval to measure without"
        )
    if any(isinstance(s, LazySplit) and s.varies for n, s in lazy.items() if n != "train"):
        yield "val or test gives another sample at each reading; the same seeds are used each time"
    yield "splits are not compared for samples that they share"
