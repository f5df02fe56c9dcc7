"""A convolutional network for images ``(C, H, W)``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from trainables.config.data_info import DataInfo
from trainables.contract import Trainable
from trainables.regularisers.dropout import Dropout


class CNN(Trainable):
    """Blocks of convolution, ReLU and pooling, then a hidden layer with dropout."""

    def __init__(self, channels: Sequence[int] = (32, 64), hidden: int = 128) -> None:
        self._channels = tuple(channels)
        self._hidden = hidden

    def build(self, info: DataInfo) -> nn.Module:
        """``(B, C, H, W)`` to ``(B, outputs)``."""
        width, *_ = info.input_shape
        layers: list[nn.Module] = []
        for channels in self._channels:
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2, ceil_mode=True), Dropout(channelwise=True)]
            width = channels
        layers += [nn.Flatten(), nn.LazyLinear(self._hidden), nn.ReLU(), Dropout()]
        return nn.Sequential(*layers, nn.Linear(self._hidden, info.outputs))
