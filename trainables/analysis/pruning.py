"""Removes units whose weights and bias are zero, and the inputs that read them.

A unit is removed if its layer is followed only by operations that map zero to zero and keep
channels separate, and then by one layer whose inputs can be removed; the outputs stay the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from trainables.data.nests import Nest
from trainables.regularisers.dropout import Dropout

_KEEP_ZEROS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Hardswish,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.Identity,
    nn.Flatten,
    Dropout,
)
_KEEP_ZEROS_FUNCTIONS = (torch.relu, nn.functional.relu, torch.tanh, torch.flatten)
_TOLERANCE = 1e-6

Layer = nn.Linear | nn.Conv1d | nn.Conv2d


@dataclass(frozen=True)
class Removed:
    """How many units of a layer were removed, and how many it had."""

    layer: str
    removed: int
    units: int


def prune(model: nn.Module, x: Nest) -> tuple[nn.Module, tuple[Removed, ...]]:
    """A smaller network with the same outputs on the samples ``x``, and what was removed.

    The network itself is returned, with nothing removed, if it takes or returns more than one
    tensor, if it cannot be traced, or if the outputs would differ by more than 1e-6 of their size.
    """
    if not isinstance(x, Tensor):
        return model, ()
    smaller = copy.deepcopy(model).eval()
    removed = tuple(
        Removed(producer, _remove(smaller, producer, consumer), units)
        for producer, consumer in _find_pairs(smaller)
        if (units := _count_units(smaller, producer)) and _find_zero_units(smaller, producer).any()
    )
    with torch.no_grad():
        before, after = model.eval()(x), smaller(x)
    if not isinstance(before, Tensor):
        return model, ()
    scale = float(before.abs().max().clamp(min=1.0))
    if not removed or float((before - after).abs().max()) > _TOLERANCE * scale:
        return model, ()
    return smaller, removed


def _find_pairs(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of layers, each with the name of its only reader."""
    try:
        graph = fx.Tracer().trace(model)
    except Exception:  # a forward that cannot be traced may raise anything
        return
    modules = dict(model.named_modules())
    for node in graph.nodes:
        if _is_layer(node, modules):
            reader = _find_reader(node, modules)
            if reader is not None:
                yield str(node.target), reader


def _find_reader(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """The only layer that reads the node's output, through operations that keep zeros."""
    while True:
        users = list(node.users)
        if len(users) != 1:
            return None
        node = users[0]
        if _is_layer(node, modules):
            layer = modules[str(node.target)]
            grouped = not isinstance(layer, nn.Linear) and layer.groups != 1
            return None if grouped else str(node.target)
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        keeps = isinstance(module, _KEEP_ZEROS) or (
            node.op == "call_function" and node.target in _KEEP_ZEROS_FUNCTIONS
        )
        if not keeps:
            return None


def _is_layer(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    return node.op == "call_module" and isinstance(
        modules.get(str(node.target)), (nn.Linear, nn.Conv1d, nn.Conv2d)
    )


def _get_layer(model: nn.Module, name: str) -> Layer:
    layer = model.get_submodule(name)
    assert isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d))
    return layer


def _count_units(model: nn.Module, name: str) -> int:
    return len(_get_layer(model, name).weight)


def _find_zero_units(model: nn.Module, name: str) -> Tensor:
    """Mask ``(units,)`` of the units whose weights and bias are zero."""
    layer = _get_layer(model, name)
    zero = (layer.weight == 0).flatten(1).all(1)
    return zero if layer.bias is None else zero & (layer.bias == 0)


@torch.no_grad()
def _remove(model: nn.Module, producer: str, consumer: str) -> int:
    """Remove the zero units from both layers; at least one unit stays."""
    first, second = _get_layer(model, producer), _get_layer(model, consumer)
    zero = _find_zero_units(model, producer)
    if zero.all():
        zero[0] = False
    kept = (~zero).nonzero().flatten()
    inputs = second.weight.shape[1] // len(zero)  # a channel of a flattened image is several inputs
    columns = (kept[:, None] * inputs + torch.arange(inputs)).flatten()
    _set_weights(first, first.weight[kept], first.bias[kept] if first.bias is not None else None)
    _set_weights(second, second.weight[:, columns], second.bias)
    return int(zero.sum())


def _set_weights(layer: Layer, weight: Tensor, bias: Tensor | None) -> None:
    layer.weight = nn.Parameter(weight.clone())
    layer.bias = None if bias is None else nn.Parameter(bias.clone())
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    else:
        layer.out_channels, layer.in_channels = weight.shape[:2]
