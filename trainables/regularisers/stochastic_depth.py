"""Stochastic depth: sets the rate of layers that drop whole branches of a network."""

from __future__ import annotations

from torch import nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo
from trainables.regularisers.base import Regulariser

_DEPTH_LAYERS = ("StochasticDepth", "DropPath")
_DEPTH_RATES = ("p", "drop_prob")


class SetStochasticDepth(Regulariser):
    """Sets the rate of the deepest layer; the rates of earlier layers grow linearly up to it."""

    def __init__(self, config: config.StochasticDepth) -> None:
        assert config.stochastic_depth is not None
        self._rate = config.stochastic_depth
        self._layers = 0

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Check that there is a layer that drops branches if the rate is above 0."""
        if not self._rate or find_depth_layers(model):
            return None
        return "the network has no layer of class StochasticDepth or DropPath"

    def on_model(self, model: nn.Module) -> nn.Module:
        """Set the rates in place."""
        set_depth_rate(model, self._rate)
        self._layers = len(find_depth_layers(model))
        return model

    def acted(self, epoch: int) -> bool:
        """Whether a layer drops branches."""
        return self._rate > 0 and self._layers > 0


def find_depth_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that drop whole branches, by name: of torchvision, timm, transformers or alike."""
    return {n: m for n, m in model.named_modules() if type(m).__name__.endswith(_DEPTH_LAYERS)}


def set_depth_rate(model: nn.Module, rate: float) -> None:
    """Set rates that grow linearly with depth up to ``rate``.

    Huang et al. 2016, Deep Networks with Stochastic Depth: linear decay of survival.
    """
    layers = list(find_depth_layers(model).values())
    for position, layer in enumerate(layers, start=1):
        for attribute in _DEPTH_RATES:
            if hasattr(layer, attribute):
                setattr(layer, attribute, rate * position / len(layers))
