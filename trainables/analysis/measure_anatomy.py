"""Measures statistics of a trained network by layer: zero weights, dead units, norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.config.anatomy import Anatomy, LayerAnatomy
from trainables.data.nests import Nest
from trainables.forward import call_network
from trainables.regularisers.dropout import find_activations
from trainables.regularisers.weights import Penalised

_CONVOLUTIONS = nn.modules.conv._ConvNd


@torch.no_grad()
def measure_anatomy(
    model: nn.Module, weights: Sequence[Penalised], inputs: Iterable[Nest]
) -> Anatomy:
    """Inspect the weights, and the units' outputs on batches of inputs. Leaves eval mode on."""
    constant = _find_constant_units(model, inputs)
    parameters = list(model.parameters())
    return Anatomy(
        parameters=sum(p.numel() for p in parameters),
        effective=sum(int((p != 0).sum()) for p in parameters),
        layers=tuple(
            LayerAnatomy(
                name=w.name,
                weights=w.weight.numel(),
                zeros=int((w.weight == 0).sum()),
                norm=float(w.weight.norm()),
                units=len(units)
                if (units := constant.get(_get_module_name(w.name))) is not None
                else 0,
                dead=int(units.sum()) if units is not None else 0,
            )
            for w in weights
        ),
    )


def _get_module_name(parameter: str) -> str:
    return parameter.rpartition(".")[0]


@dataclass
class _Range:
    """The lowest and highest value of each unit, at a layer's output or after its activation."""

    low: Tensor
    high: Tensor

    def widen(self, outputs: Tensor) -> None:
        """Take the units' outputs ``(units, …)`` on another batch into account."""
        self.low = torch.minimum(self.low, outputs.amin(1))
        self.high = torch.maximum(self.high, outputs.amax(1))


def _find_constant_units(model: nn.Module, inputs: Iterable[Nest]) -> dict[str, Tensor]:
    """Which units of each layer are constant, at the layer's output or after its activation.

    An activation module belongs to the layer that ran last before it; functional activations are
    not seen. Units are the channels of a convolution, and the last axis of any other output.
    """
    seen: dict[tuple[str, str], _Range] = {}
    last = ""
    convolutions = {n for n, m in model.named_modules() if isinstance(m, _CONVOLUTIONS)}
    after = set(find_activations(model))

    def look(name: str, outputs: object) -> None:
        nonlocal last
        if not isinstance(outputs, Tensor) or outputs.ndim < 2:
            return
        layer = last if name in after else name
        units = outputs.movedim(1 if layer in convolutions else -1, 0).flatten(1)
        place = layer, name
        if name not in after:
            last = name
        elif not last or len(units) != len(seen[last, last].low):
            return
        if place not in seen or len(seen[place].low) != len(units):
            seen[place] = _Range(units.amin(1), units.amax(1))
        seen[place].widen(units)

    with _watch_layers(model, look):
        for x in inputs:
            call_network(model.eval(), x)
    constant: dict[str, Tensor] = {}
    for (layer, _), found in seen.items():
        units = found.low == found.high
        constant[layer] = constant[layer] | units if layer in constant else units
    return constant


@contextmanager
def _watch_layers(model: nn.Module, look: Callable[[str, object], None]) -> Iterator[None]:
    """Call ``look`` with the name and outputs of every layer with weights and every activation."""
    after = set(find_activations(model))
    hooks = [
        module.register_forward_hook(lambda _m, _i, outputs, name=name: look(name, outputs))
        for name, module in model.named_modules()
        if name in after or any(p.ndim >= 2 for p in module.parameters(recurse=False))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
