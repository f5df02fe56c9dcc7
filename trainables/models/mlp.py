"""A multi-layer perceptron for images and tables, classification and regression."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from trainables.config.data_info import DataInfo
from trainables.contract import Trainable
from trainables.regularisers.dropout import Dropout


class MLP(Trainable):
    """Hidden layers over the flattened inputs, each with ReLU and dropout."""

    def __init__(self, hidden: Sequence[int] = (256, 256)) -> None:
        self._hidden = tuple(hidden)

    def build(self, info: DataInfo) -> nn.Module:
        """``(B, *info.input_shape)`` to ``(B, outputs)``."""
        width = 1
        for size in info.input_shape:
            width *= size
        layers: list[nn.Module] = [nn.Flatten()]
        for hidden in self._hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), Dropout()]
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, info.outputs))
