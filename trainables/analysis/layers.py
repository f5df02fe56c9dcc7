"""The layers of a network that own weights, and which of their outputs are units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.data.nests import Nest

_CONVOLUTIONS = nn.modules.conv._ConvNd
_PARTS = "parametrizations"


@dataclass(frozen=True)
class Layer:
    """A module with a weight matrix or kernel of its own."""

    name: str
    module: nn.Module

    def find_units(self, made: object) -> Tensor | None:
        """What the layer's units put out, as ``(units, everything else)``; None if nothing does.

        Units are the channels of a convolution, and the features, on the last axis, of any other
        output: of a sequence, not its time steps. A recurrent layer and attention return their
        units first.
        """
        found = find_first(made)
        if found is None or found.ndim < 2 or not found.is_floating_point():
            return None
        return found.movedim(self._find_axis(found), 0).flatten(1)

    def _find_axis(self, outputs: Tensor) -> int:
        if not isinstance(self.module, _CONVOLUTIONS):
            return -1
        return outputs.ndim - len(self.module.kernel_size) - 1


def find_first(made: object) -> Tensor | None:
    """The first of what a layer returns, if that is a tensor; that of a packed sequence too."""
    while isinstance(made, tuple | list) and made:
        made = made[0]
    return made if isinstance(made, Tensor) else None


def list_layers(model: nn.Module) -> Iterator[Layer]:
    """All layers of a network, in order; a layer that is used in several places is one."""
    for name, module in model.named_modules():
        if _PARTS in name.split("."):
            continue
        own = list(module.parameters(recurse=False))
        if parametrize.is_parametrized(module):
            own += module.get_submodule(_PARTS).parameters()
        if any(p.ndim >= 2 for p in own):
            yield Layer(name, module)


def split_units(model: nn.Module, name: str, weight: Tensor, units: Tensor) -> Tensor | None:
    """Which of a layer's ``units`` the parameter ``name`` computes; None if it computes none.

    That of a user's own layer computes them if it has an axis of their number.

    A recurrent layer shows the units of its last level, one half for each direction. Attention
    shows those of its output projection.
    """
    module = model.get_submodule(find_owner(name))
    own = name.rpartition(".")[2]
    if isinstance(module, nn.RNNBase):
        last = f"weight_ih_l{module.num_layers - 1}"
        directions = units.chunk(1 + module.bidirectional)
        return dict(zip((last, f"{last}_reverse"), directions, strict=False)).get(own)
    is_known = type(module).__module__.startswith("torch.nn.")
    return units if is_known or len(units) in weight.shape else None


def find_owner(name: str) -> str:
    """The name of the layer that computes with the parameter ``name``."""
    return name.split(f".{_PARTS}.")[0] if _PARTS in name.split(".") else name.rpartition(".")[0]


@contextmanager
def watch_layers(
    model: nn.Module,
    see: Callable[[Layer, Any], Any],
    before: Callable[[Nest], None] = lambda _: None,
) -> Iterator[None]:
    """Call ``before`` with the inputs of each layer, and ``see`` with its outputs.

    What ``see`` returns takes the place of the outputs, unless it is None.
    """
    hooks = []
    for layer in list_layers(model):
        hooks += [
            layer.module.register_forward_pre_hook(
                lambda _m, args, named: before((args, named)), with_kwargs=True
            ),
            layer.module.register_forward_hook(lambda _m, _i, made, of=layer: see(of, made)),
        ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
