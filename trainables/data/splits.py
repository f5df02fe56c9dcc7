"""The splits of a training as plain arrays, which Ray shares without copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from trainables.config.data_info import DataInfo, Task
from trainables.data.preprocessing import Preprocessing
from trainables.errors import DataError


@dataclass(frozen=True)
class Split:
    """``x`` is float32 ``(N, *input_shape)``; ``y`` int64 ``(N,)`` or float32 ``(N, outputs)``."""

    x: NDArray[np.float32]
    y: NDArray[np.int64] | NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.x)

    def head(self, count: int) -> Split:
        """The first samples."""
        return Split(self.x[:count], self.y[:count])


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
        if self.info.task is Task.CLASSIFICATION and len(np.unique(self.train.y)) < 2:
            raise DataError("the training split has only one class; at least two are needed")


def check_overlap(splits: Splits) -> None:
    """Check that no sample, input and target together, is in two splits; compares contents.

    Raises:
        DataError: two splits share a sample.
    """
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    seen: dict[bytes, tuple[str, int]] = {}
    for name, split in parts.items():
        own: dict[bytes, tuple[str, int]] = {}
        for row, digest in enumerate(_hash_samples(split) if split else ()):
            if digest in seen:
                other, number = seen[digest]
                raise DataError(
                    f"row {row} of {name} equals row {number} of {other}: the splits overlap, so a "
                    "gap between them is meaningless; split by sample, or set "
                    "`allow_overlap: true` in data if equal samples are expected"
                )
            own[digest] = (name, row)
        seen |= own


def _hash_samples(split: Split) -> Iterator[bytes]:
    for x, y in zip(split.x, split.y, strict=True):
        yield blake2b(x.tobytes() + np.asarray(y).tobytes(), digest_size=16).digest()


def _check_split(name: str, split: Split, info: DataInfo) -> None:
    if len(split.x) != len(split.y):
        raise DataError(f"{name} has {len(split.x)} inputs but {len(split.y)} targets")
    if not len(split):
        raise DataError(f"{name} is empty")
    if split.x.shape[1:] != info.input_shape:
        raise DataError(
            f"samples of {name} have shape {split.x.shape[1:]}, those of train {info.input_shape}"
        )
    for what, values in (("input", split.x), ("target", split.y)):
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            raise DataError(f"{name}, row {int(finite.argmin())}: the {what} is NaN or infinite")
