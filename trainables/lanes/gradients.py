"""The gradients that many lanes add up in a step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.lanes.lane import Lane
from trainables.lanes.reasons import CannotFuseError


class Gradients:
    """Stacks ``(L, …)`` by the number of a trained weight; each lane's ``grad`` is a slice.

    None stands for a weight that has no gradient.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._weights = list(zip(*(lane.trained for lane in lanes), strict=True))
        self.stacks: list[Tensor | None] = [None] * len(self._weights)
        self._slices: list[Sequence[Tensor | None]] = []

    def clear(self) -> None:
        """Begin a step."""
        self.stacks = [None] * len(self._weights)

    def add(self, found: Sequence[Tensor | None]) -> None:
        """Add to them as a backward pass does, in the memory layout of the weights."""
        places: set[int] = set()
        for number, gradient in enumerate(found):
            known = self.stacks[number]
            if gradient is None:
                continue
            if known is not None:
                known.add_(gradient)
                continue
            laid = _lay_out(gradient, self._weights[number][0])
            self.stacks[number] = laid.clone() if laid.data_ptr() in places else laid
            places.add(laid.data_ptr())

    def give(self) -> None:
        """Give each lane its own."""
        none: list[Tensor | None] = [None] * len(self._lanes)
        self._slices = [none if stack is None else stack.unbind() for stack in self.stacks]
        for weights, slices in zip(self._weights, self._slices, strict=True):
            for weight, gradient in zip(weights, slices, strict=True):
                weight.grad = gradient

    @torch.no_grad()
    def take_back(self, row: int) -> None:
        """Take what a lane's hooks have put in place of its own.

        Raises:
            CannotFuseError: a weight has a gradient that had none, or none any more.
        """
        for weights, slices in zip(self._weights, self._slices, strict=True):
            given, found = slices[row], weights[row].grad
            if found is given:
                continue
            if found is None or given is None:
                raise CannotFuseError("a regulariser gives a weight a gradient, or takes it away")
            given.copy_(found)


def _lay_out(gradient: Tensor, weight: Tensor) -> Tensor:
    """Lanes' gradients, each in the memory layout of the weight."""
    size = (len(gradient), *weight.shape)
    strides = (weight.numel(), *weight.stride())
    if gradient.stride() == strides:
        return gradient
    made = torch.empty_strided(size, strides, dtype=weight.dtype, device=weight.device)
    return made.copy_(gradient)
