"""The splits of a training as plain arrays, which Ray shares without copies."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trainables.config.data_info import DataInfo, Shape, Task
from trainables.data.nests import Nest, count_samples, list_leaves, map_nest
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


@dataclass(frozen=True)
class Splits:
    """The splits and their description. Only the finalists are measured on the test split."""

    train: Split
    val: Split
    test: Split | None
    info: DataInfo
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        _check_split("train", self.train, self.info)
        _check_split("val", self.val, self.info)
        if self.test is not None:
            _check_split("test", self.test, self.info)
        self._check_types()
        classes = next(list_leaves(self.train.y))
        if self.info.task is Task.CLASSIFICATION and len(np.unique(classes)) < 2:
            raise DataError("the training split has only one class; at least two are needed")

    def _check_types(self) -> None:
        given = {"val": self.val, "test": self.test}
        for name, split in given.items():
            pairs = zip(*map(_list_types, (self.train, split or self.train)), strict=True)
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
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    seen: dict[bytes, tuple[str, int]] = {}
    for name, split in parts.items():
        own: dict[bytes, tuple[str, int]] = {}
        leaves = [*list_leaves((split.x, split.y))] if split else []
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


def find_shape(x: Nest) -> Shape:
    """The shape of one sample: of an array, or a nest of the shapes of all arrays."""
    shape: Shape = map_nest(lambda leaf: tuple(leaf.shape[1:]), x)
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
