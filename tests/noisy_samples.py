"""Samples of two classes that a line nearly divides, in three parts."""

from __future__ import annotations

import torch
from torch import Tensor

N, VAL, TEST = 48, 24, 16
X = torch.randn(N + VAL + TEST, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] + 0.3 * torch.randn(len(X), generator=torch.Generator().manual_seed(1)) > 0).long()


def rows_of(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.tolist()}
