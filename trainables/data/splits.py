"""The splits of a training: plain arrays, which Ray shares without copies, or lazily read ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from trainables.config.data_info import DataInfo, Shape, Task
from trainables.data.lazy import LazySplit, StreamSplit
from trainables.data.nests import Nest, count_samples, keep_arrays, list_leaves, map_nest
from trainables.data.preprocessing import Preprocessing
from trainables.data.raw import hash_rows
from trainables.errors import DataError


@dataclass(frozen=True)
class Split:
    """Nests of arrays with samples on the first axis, most often one array each.

    Of a built-in source ``x`` is float32 ``(N, *input_shape)``, and ``y`` int64 ``(N,)`` or float32
    ``(N, outputs)``; of a user's function both are as they came.
    """

    x: Nest
    y: Nest

    def __len__(self) -> int:
        return count_samples(self.y)

    @property
    def nbytes(self) -> int:
        """The size of all arrays in bytes."""
        return sum(int(leaf.nbytes) for leaf in list_leaves((self.x, self.y)))

    def head(self, count: int) -> Split:
        """The first samples."""
        return Split(*(map_nest(lambda leaf: leaf[:count], nest) for nest in (self.x, self.y)))


AnySplit = Split | LazySplit | StreamSplit
"""Samples in memory, or read while they are needed."""


def find_batch_size(train: AnySplit) -> int | None:
    """The batch size of the ready loader that the samples came in; None without one."""
    return None if isinstance(train, Split) else train.loading.batch_size


@dataclass(frozen=True)
class Splits:
    """The splits and their description. Only the finalists are measured on the test split.

    ``notes`` are sentences on how the data are read, for people.
    """

    train: AnySplit
    val: AnySplit
    test: AnySplit | None
    info: DataInfo
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        arrays = dict(self.list_arrays())
        for name, split in arrays.items():
            _check_split(name, split, self.info)
        if "train" not in arrays:
            return
        _check_types(arrays)
        classes = next(list_leaves(arrays["train"].y))
        if self.info.task is Task.CLASSIFICATION and len(np.unique(classes)) < 2:
            raise DataError("the training split has only one class; at least two are needed")

    def list_arrays(self) -> Iterator[tuple[str, Split]]:
        """The names and samples of the splits that are in memory."""
        for name, split in (("train", self.train), ("val", self.val), ("test", self.test)):
            if isinstance(split, Split):
                yield name, split


def _check_types(arrays: Mapping[str, Split]) -> None:
    for name, split in arrays.items():
        pairs = zip(*map(_list_types, (arrays["train"], split)), strict=True)
        for ours, theirs in pairs:
            if ours != theirs:
                raise DataError(f"train has {ours}, {name} has {theirs}: give one type")


def _list_types(split: Split) -> list[str]:
    return [str(leaf.dtype) for leaf in list_leaves((split.x, split.y))]


def check_overlap(splits: Splits) -> None:
    """Check that no sample, input and target together, is in two splits; compares contents.

    Raises:
        DataError: two splits share a sample.
    """
    seen: dict[bytes, tuple[str, int]] = {}
    for name, split in splits.list_arrays():
        own: dict[bytes, tuple[str, int]] = {}
        leaves = [*list_leaves((split.x, split.y))]
        for row, digest in enumerate(hash_rows(leaves)):
            if digest in seen:
                other, number = seen[digest]
                raise DataError(
                    f"row {row} of {name} equals row {number} of {other}: the splits overlap, so a "
                    "gap between them is meaningless; split by sample, or set "
                    "`allow_overlap: true` in data if equal samples are expected"
                )
            own[digest] = (name, row)
        seen |= own


def describe_size(split: AnySplit | None) -> str:
    """The number of samples, in words."""
    if split is None:
        return "no"
    return "a stream of" if isinstance(split, StreamSplit) else str(len(split))


def find_shape(x: Nest) -> Shape:
    """The shape of one sample: of an array, or a nest of the shapes of all arrays."""
    shape: Shape = map_nest(lambda leaf: tuple(leaf.shape[1:]), keep_arrays(x))
    return shape


def _check_split(name: str, split: Split, info: DataInfo) -> None:
    inputs, targets = (_count(name, nest) for nest in (split.x, split.y))
    if inputs != targets:
        raise DataError(f"{name} has {inputs} inputs but {targets} targets")
    if not inputs:
        raise DataError(f"{name} is empty")
    shape = find_shape(split.x)
    if shape != info.input_shape:
        raise DataError(f"samples of {name} have shape {shape}, those of train {info.input_shape}")
    for what, nest in (("input", split.x), ("target", split.y)):
        for values in list_leaves(nest):
            finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            if not finite.all():
                row = int(finite.argmin())
                raise DataError(f"{name}, row {row}: the {what} is NaN or infinite")


def _count(name: str, nest: Nest) -> int:
    try:
        return count_samples(nest)
    except ValueError as error:
        raise DataError(f"{name}: {error}; all need the same number of samples") from None
