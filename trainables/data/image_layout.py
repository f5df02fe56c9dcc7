"""The memory layout of images on a GPU: channels last, with which convolutions are fastest."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.data.nests import Nest


def put_channels_last(x: Tensor) -> Tensor:
    """Images ``(N, C, H, W)`` in that layout; anything else as it is."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def keep_layout(given: Nest, made: Nest) -> Nest:
    """What was made of inputs, with channels last if the inputs had that."""
    if not (isinstance(given, Tensor) and isinstance(made, Tensor)) or given.is_contiguous():
        return made
    images = given.ndim == 4 and given.is_contiguous(memory_format=torch.channels_last)
    return put_channels_last(made) if images else made
