"""Measures statistics of a trained network by layer: zero weights, dead units, norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainables.config.anatomy import Anatomy, LayerAnatomy
from trainables.regularisers.dropout import find_activations
from trainables.regularisers.weights import Penalised

_CONVOLUTIONS = nn.modules.conv._ConvNd


@torch.no_grad()
def measure_anatomy(model: nn.Module, weights: Sequence[Penalised], x: Tensor) -> Anatomy:
    """Inspect the weights, and the units' outputs on the samples ``x``. Leaves eval mode on."""
    constant = _find_constant_units(model, x)
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


def _find_constant_units(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Which units of each layer are constant, at the layer's output or after its activation.

    An activation module belongs to the layer that ran last before it; functional activations are
    not seen. Units are the channels of a convolution, and the last axis of any other output.
    """
    seen: dict[str, Tensor] = {}
    last = ""
    convolutions = {n for n, m in model.named_modules() if isinstance(m, _CONVOLUTIONS)}
    after = set(find_activations(model))

    def look(name: str, outputs: object) -> None:
        nonlocal last
        if not isinstance(outputs, Tensor) or outputs.ndim < 2:
            return
        layer = last if name in after else name
        axis = 1 if layer in convolutions else -1
        per_unit = outputs.movedim(axis, 0).flatten(1)
        constant = per_unit.amax(1) == per_unit.amin(1)
        if name not in after:
            last, seen[name] = name, constant
        elif last and len(constant) == len(seen[last]):
            seen[last] = seen[last] | constant

    with _watch_layers(model, look):
        model.eval()(x)
    return seen


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
