"""The generalisation gap, with both sides measured at the same weights in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor


def compute_gaps(
    train: Mapping[str, float], held_out: Mapping[str, float], better_high: Callable[[str], bool]
) -> dict[str, float]:
    """By how much the training side is better; positive values mean overfitting."""
    signs = {name: 1.0 if better_high(name) else -1.0 for name in train}
    return {name: signs[name] * (train[name] - held_out[name]) for name in train}


def choose_train_subset(train_size: int, val_size: int, seed: int) -> Tensor:
    """Indices of the fixed training subset that is measured, as large as the validation split."""
    chosen = np.random.default_rng(seed).permutation(train_size)[: min(train_size, val_size)]
    return torch.from_numpy(np.sort(chosen))
