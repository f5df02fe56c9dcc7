"""Dropout whose rate is a tensor, so that one network works at every rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo
from trainables.regularisers.base import Regulariser

_CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
_ALPHA = (nn.AlphaDropout, nn.FeatureAlphaDropout)
_SATURATION = -1.7580993408473766  # of SELU: −λα, Klambauer et al. 2017


class Dropout(nn.Module):
    """Zeroes entries with probability ``rate`` in training mode and scales the others up.

    Srivastava et al. 2014. With ``channelwise`` whole channels are dropped, as in ``nn.Dropout2d``.
    With ``alpha`` dropped entries become SELU's saturation value, and the output keeps its mean and
    variance, as in ``nn.AlphaDropout``. The rate is a buffer outside of the state dict.
    """

    rate: Tensor

    def __init__(
        self, rate: float = 0.0, *, channelwise: bool = False, alpha: bool = False
    ) -> None:
        super().__init__()
        self._channelwise = channelwise
        self._alpha = alpha
        self.register_buffer("rate", torch.tensor(float(rate)), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(B, …)`` to the same shape."""
        if not self.training:
            return inputs
        shape = inputs.shape
        if self._channelwise:
            shape = torch.Size([*inputs.shape[:2], *([1] * (inputs.ndim - 2))])
        keep = torch.rand(shape, device=inputs.device) >= self.rate  # bf16 would round the rate
        if self._alpha:
            return self._keep_moments(inputs, keep)
        return inputs * keep / (1 - self.rate)

    def _keep_moments(self, inputs: Tensor, keep: Tensor) -> Tensor:
        kept = 1 - self.rate
        scale = (kept * (1 + self.rate * _SATURATION**2)).rsqrt()
        shift = -scale * self.rate * _SATURATION
        return scale * torch.where(keep, inputs, _SATURATION) + shift


def replace_dropout(model: nn.Module) -> nn.Module:
    """Replace torch's dropout modules in place by equivalent ones whose rate is a tensor.

    A model that is itself a dropout module is returned replaced.
    """
    if isinstance(model, (nn.Dropout, *_CHANNELWISE, *_ALPHA)):
        return Dropout(
            model.p, channelwise=isinstance(model, _CHANNELWISE), alpha=isinstance(model, _ALPHA)
        )
    for name, child in model.named_children():
        setattr(model, name, replace_dropout(child))
    return model


def find_dropout_layers(model: nn.Module) -> dict[str, Dropout]:
    """The layers whose dropout rate can be set, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, Dropout)}


def set_rate(model: nn.Module, rate: float) -> None:
    """Give every dropout layer the same rate, in ``[0, 1)``."""
    for layer in find_dropout_layers(model).values():
        layer.rate.fill_(rate)


def find_activations(model: nn.Module) -> tuple[str, ...]:
    """Names of the activation layers, after which dropout layers are usually placed."""
    module = nn.ReLU.__module__
    return tuple(
        name
        for name, layer in model.named_modules()
        if type(layer).__module__ == module and not isinstance(layer, nn.MultiheadAttention)
    )


class SetDropout(Regulariser):
    """Sets one rate for every dropout layer of the network."""

    def __init__(self, config: config.Dropout) -> None:
        assert config.dropout is not None
        self._rate = config.dropout

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Check that there is a dropout layer if the rate is above 0."""
        if not self._rate or find_dropout_layers(model):
            return None
        follow = find_activations(model)
        where = f", for example after {', '.join(follow[:6])}" if follow else ""
        return f"the network has no dropout layer; add torch.nn.Dropout() to it{where}"

    def on_model(self, model: nn.Module) -> nn.Module:
        """Set the rate in place."""
        set_rate(model, self._rate)
        return model
