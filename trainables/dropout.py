"""Dropout whose rate is a value that a step reads, so that one network serves every rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Zeroes entries with probability ``rate`` while training and scales the rest up.

    Srivastava et al. 2014. With ``channelwise`` one draw holds for a whole channel, as in
    ``nn.Dropout2d``. The rate is a buffer that no state dict holds.
    """

    rate: Tensor

    def __init__(self, rate: float = 0.0, *, channelwise: bool = False) -> None:
        super().__init__()
        self._channelwise = channelwise
        self.register_buffer("rate", torch.tensor(float(rate)), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(B, …)`` to the same shape."""
        if not self.training:
            return inputs
        shape = inputs.shape
        if self._channelwise:
            shape = torch.Size([*inputs.shape[:2], *([1] * (inputs.ndim - 2))])
        keep = torch.rand(shape, device=inputs.device, dtype=inputs.dtype) >= self.rate
        return inputs * keep / (1 - self.rate)


def adopt(model: nn.Module) -> nn.Module:
    """Replace torch's own dropout modules in place by equals whose rate is a value.

    A model that is itself a dropout module is returned replaced.
    """
    plain, channelwise = nn.Dropout, (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    if isinstance(model, (plain, *channelwise)):
        return Dropout(model.p, channelwise=isinstance(model, channelwise))
    for name, child in model.named_children():
        setattr(model, name, adopt(child))
    return model


def dropout_layers(model: nn.Module) -> dict[str, Dropout]:
    """The layers whose rate can be set, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, Dropout)}


def set_rate(model: nn.Module, rate: float) -> None:
    """Give every dropout layer the same rate, in ``[0, 1)``."""
    for layer in dropout_layers(model).values():
        layer.rate.fill_(rate)
