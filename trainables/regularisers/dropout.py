"""Dropout whose rate is a value, so that one network works at every rate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo
from trainables.regularisers.base import Regulariser
from trainables.regularisers.stochastic_depth import find_depth_layers

_CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
_ALPHA = (nn.AlphaDropout, nn.FeatureAlphaDropout)
_OF_TORCH = (nn.Dropout, *_CHANNELWISE, *_ALPHA)
_SATURATION = -1.7580993408473766  # of SELU: −λα, Klambauer et al. 2017
_RATES = "_gapsweep_dropout_rates"
_NAMES = re.compile(r".*drop.*|p|.+_p|p_.+", re.IGNORECASE)


class Dropout(nn.Module):
    """Zeroes entries with probability ``rate`` in training mode and scales the others up.

    Srivastava et al. 2014. With ``channelwise`` whole channels are dropped, as in ``nn.Dropout2d``.
    With ``alpha`` dropped entries become SELU's saturation value, and the output keeps its mean and
    variance, as in ``nn.AlphaDropout``. The rate is a buffer outside of the state dict. ``p`` and
    ``inplace`` are those of torch's modules, which attention layers read; nothing is done in place.
    """

    rate: Tensor
    inplace = False

    def __init__(
        self, rate: float = 0.0, *, channelwise: bool = False, alpha: bool = False
    ) -> None:
        super().__init__()
        self._channelwise = channelwise
        self._alpha = alpha
        self._p = float(rate)
        self.register_buffer("rate", torch.tensor(self._p), persistent=False)

    @property
    def p(self) -> float:
        """The rate as a number."""
        return self._p

    @p.setter
    def p(self, rate: float) -> None:
        self._p = float(rate)
        self.rate.fill_(self._p)

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
        return inputs * keep.to(inputs.dtype) / (1 - self.rate)  # torch is slow with two types

    def _keep_moments(self, inputs: Tensor, keep: Tensor) -> Tensor:
        kept = 1 - self.rate
        scale = (kept * (1 + self.rate * _SATURATION**2)).rsqrt()
        shift = -scale * self.rate * _SATURATION
        return scale * torch.where(keep, inputs, _SATURATION) + shift


def adopt_dropout(model: nn.Module) -> nn.Module:
    """Make the rate of every dropout in the network one that :func:`set_rate` sets.

    Torch's own modules are replaced in place, wherever they are used, by equivalent ones whose
    rate is a tensor. Subclasses with a forward of their own stay, and so do layers that keep a rate
    as a number (``nn.MultiheadAttention``, ``nn.LSTM`` and others with ``drop`` in its name): the
    number is set, if it is above 0 in the network as it was built. A network that is itself a
    dropout module is returned replaced.
    """
    model = _replace(model, {})
    depth = set(find_depth_layers(model).values())
    for module in model.modules():
        whole = isinstance(module, (Dropout, *_OF_TORCH)) or module in depth
        rates = () if whole else tuple(_find_rates(module))
        if rates:
            setattr(module, _RATES, rates)
    return model


def _replace(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """``done`` holds what became of every module, so that a shared one stays shared."""
    if module not in done:
        done[module] = module
        if type(module) in _OF_TORCH:
            rate: Any = module.p
            done[module] = Dropout(
                rate,
                channelwise=isinstance(module, _CHANNELWISE),
                alpha=isinstance(module, _ALPHA),
            )
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = _replace(child, done)
    return done[module]


def _find_rates(module: nn.Module) -> Iterator[str]:
    """The attributes of a module that are rates of dropout."""
    for name, value in vars(module).items():
        if _NAMES.fullmatch(name) and isinstance(value, float) and 0 < value < 1:
            yield name


def find_dropout(model: nn.Module) -> tuple[str, ...]:
    """The places whose rate :func:`set_rate` sets: layers, or attributes of layers."""
    return tuple(name for name, _, _ in _list_places(model))


def set_rate(model: nn.Module, rate: float) -> None:
    """Give every dropout the same rate, in ``[0, 1)``."""
    for _, module, attribute in _list_places(model):
        setattr(module, attribute, rate)


def _list_places(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """The name of each place, and the module and attribute that hold its rate."""
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, (Dropout, *_OF_TORCH)):
            yield name, module, "p"
        for attribute in getattr(module, _RATES, ()):
            yield f"{name}.{attribute}" if name else attribute, module, attribute


def find_activations(model: nn.Module) -> tuple[str, ...]:
    """Names of the activation layers, after which dropout layers are usually placed."""
    module = nn.ReLU.__module__
    return tuple(
        name
        for name, layer in model.named_modules()
        if type(layer).__module__ == module and not isinstance(layer, nn.MultiheadAttention)
    )


class SetDropout(Regulariser):
    """Sets one rate for every dropout of the network."""

    def __init__(self, config: config.Dropout) -> None:
        assert config.dropout is not None
        self._rate = config.dropout
        self._places = 0

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Check that there is dropout to set if the rate is above 0."""
        if not self._rate or find_dropout(model):
            return None
        follow = find_activations(model)
        where = f", for example after {', '.join(follow[:6])}" if follow else ""
        return f"the network has no dropout layer; add torch.nn.Dropout() to it{where}"

    def on_model(self, model: nn.Module) -> nn.Module:
        """Set the rate in place."""
        set_rate(model, self._rate)
        self._places = len(find_dropout(model))
        return model

    def acted(self, epoch: int) -> bool:
        """Whether a layer drops anything."""
        return self._rate > 0 and self._places > 0
