"""What a training is fed: splits as plain arrays, which Ray shares without copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.info import DataInfo


@dataclass(frozen=True)
class Split:
    """``x`` is float32 ``(N, *input_shape)``; ``y`` int64 ``(N,)`` or float32 ``(N, outputs)``."""

    x: NDArray[np.float32]
    y: NDArray[np.int64] | NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Splits:
    """The test split is for the finalists alone, once, at the end."""

    train: Split
    val: Split
    test: Split | None
    info: DataInfo
