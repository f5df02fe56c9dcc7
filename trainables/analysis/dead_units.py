"""Finds units whose output is constant: a network makes no use of them, but as a bias."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainables.analysis.layers import Layer, find_first, watch_layers
from trainables.data.nests import Nest, list_leaves, map_nest
from trainables.forward import call_network, read_outputs


@dataclass
class _Units:
    """What was seen of the units of a layer: their range, and whether a change is passed on.

    ``passes`` is None where nothing that follows takes the layer's output.
    """

    low: Tensor
    high: Tensor
    passes: Tensor | None = None

    def widen(self, outputs: Tensor) -> None:
        """Take the units' outputs ``(units, …)`` on more samples into account."""
        self.low = torch.minimum(self.low, outputs.amin(1))
        self.high = torch.maximum(self.high, outputs.amax(1))

    def add_passing(self, passes: Tensor) -> None:
        """Take into account which units passed a change on, for more samples."""
        self.passes = passes if self.passes is None else self.passes | passes

    @property
    def dead(self) -> Tensor:
        """Which units are constant, or constant after what follows them."""
        constant = self.low == self.high
        return constant if self.passes is None else constant | ~self.passes


@dataclass
class DeadUnits:
    """The dead units of a network, from any number of batches.

    A unit is dead if the layer's output is the same for all samples and positions, or if the
    activation that follows makes it so, as ReLU does of what is never positive. The activation may
    be a module or a function, with any layers without weights in between: between two layers with
    weights, the derivative of the second's inputs by a unit is exactly 0 for all samples.
    """

    model: nn.Module
    _seen: dict[str, _Units] = field(default_factory=dict)
    _generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def add(self, inputs: Nest) -> None:
        """Look at one more batch, in eval mode."""
        try:
            self._look(inputs)
        except Exception:  # a forward that cannot be differentiated in eval mode
            with suppress(Exception):  # nor called: a user's loop calls it in another way
                self._watch(inputs)

    @torch.no_grad()
    def _watch(self, inputs: Nest) -> None:
        with watch_layers(self.model, self._see_outputs):
            call_network(self.model, inputs)

    @property
    def by_layer(self) -> Mapping[str, Tensor]:
        """Which units of each layer are dead, by the layer's name."""
        return {name: found.dead for name, found in self._seen.items()}

    def _see_outputs(self, layer: Layer, made: Any) -> None:
        units = layer.find_units(made)
        if units is None:
            return
        known = self._seen.get(layer.name)
        if known is None or len(known.low) != len(units):
            known = self._seen[layer.name] = _Units(units.amin(1), units.amax(1))
        known.widen(units)

    def _look(self, inputs: Nest) -> None:
        """Cut the network at each layer; what reaches the next one or the outputs is weighted."""
        sums: list[Tensor] = []
        leaves: list[tuple[Layer, Tensor]] = []

        def add(nest: Nest) -> None:
            sums.extend(
                (leaf * self._draw(leaf)).sum() for leaf in list_leaves(nest) if leaf.requires_grad
            )

        def cut(leaf: Tensor) -> Tensor:
            if not (leaf.is_floating_point() and not leaf.is_inference()):
                return leaf
            return leaf.detach().requires_grad_()

        def see(layer: Layer, made: Any) -> Any:
            add(made)
            self._see_outputs(layer, map_nest(lambda leaf: leaf.detach(), made))
            replaced = map_nest(cut, made)
            own = find_first(replaced)
            if own is not None and own.requires_grad:
                leaves.append((layer, own))
            return map_nest(_copy, replaced)  # what follows may change it in place

        with torch.enable_grad(), watch_layers(self.model, see, add):
            add(read_outputs(call_network(self.model, inputs)))
            total = sum(sums, torch.zeros(()))
            found = (
                torch.autograd.grad(total, [leaf for _, leaf in leaves], allow_unused=True)
                if total.requires_grad and leaves
                else ()
            )
        for (layer, _), grad in zip(leaves, found, strict=False):
            units = None if grad is None else layer.find_units(grad)
            known = self._seen.get(layer.name)
            if units is not None and known is not None and len(units) == len(known.low):
                known.add_passing((units != 0).any(1))

    def _draw(self, like: Tensor) -> Tensor:
        drawn = torch.randn(like.shape, generator=self._generator)
        return drawn.to(like.device, like.dtype)


def _copy(leaf: Tensor) -> Tensor:
    return leaf.clone() if leaf.requires_grad else leaf
