"""Counts the parameters that a network's outputs depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainables.data.nests import Nest, list_leaves
from trainables.forward import call_network, read_outputs


class EffectiveParameters:
    """The parameters that matter for the outputs, from any number of batches.

    A parameter is effective if it is not zero, and the derivative of some output by it is not
    exactly zero for at least one sample. Those of a unit that is never
    active are not, nor those whose unit has only weights of zero on all ways to the outputs.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._parameters = [p for p in model.parameters() if p.is_floating_point()]
        self._reached = [torch.zeros_like(p, dtype=torch.bool) for p in self._parameters]
        self._generator = torch.Generator().manual_seed(0)
        self._batches, self._known = 0, True

    def add(self, inputs: Nest) -> None:
        """Look at one more batch, in eval mode."""
        self._batches += 1
        if not self._known:
            return
        try:
            found = self._differentiate(inputs)
        except Exception:  # a forward that cannot be differentiated in eval mode
            found = None
        if found is None:
            self._known = False
            return
        for reached, grad in zip(self._reached, found, strict=True):
            if grad is not None:
                reached |= grad != 0

    def count(self) -> int | None:
        """How many there are; None if the outputs have no derivative by any parameter."""
        if not self._known or not self._batches:
            return None
        pairs = zip(self._parameters, self._reached, strict=True)
        return sum(int(((p != 0) & reached).sum()) for p, reached in pairs)

    def _differentiate(self, inputs: Nest) -> tuple[Tensor | None, ...] | None:
        """The derivatives of the outputs, weighted at random so that none cancel each other."""
        with torch.enable_grad(), _differentiable(self._parameters):
            outputs = read_outputs(call_network(self._model, inputs))
            leaves = [leaf for leaf in list_leaves(outputs) if leaf.requires_grad]
            if not leaves:
                return None
            weights = [torch.randn(leaf.shape, generator=self._generator) for leaf in leaves]
            pairs = zip(leaves, weights, strict=True)
            total = sum((o * w.to(o.device, o.dtype)).sum() for o, w in pairs)
            return torch.autograd.grad(total, self._parameters, allow_unused=True)


@contextmanager
def _differentiable(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Take derivatives by frozen parameters as well while the block runs."""
    frozen = [p for p in parameters if not p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
