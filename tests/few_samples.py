"""A few samples of two classes that a line divides, in three parts."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset, TensorDataset

N, VAL, TEST = 40, 20, 12
X = torch.randn(N + VAL + TEST, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def some(start: int, count: int) -> Dataset[Any]:
    return TensorDataset(X[start : start + count], Y[start : start + count])
