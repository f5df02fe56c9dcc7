"""Whether what changes batches, weights or gradients ever changed one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from trainables.data.batch import Batch
from trainables.data.nests import Nest, list_leaves, map_nest


class BatchWatch:
    """Calls a hook on batches; ``changed`` is whether one that it returned was another.

    Batches are compared until then, which is most often after the first one.
    """

    def __init__(self, hook: Callable[[Batch], Batch]) -> None:
        self._hook = hook
        self.changed = False

    def __call__(self, batch: Batch) -> Batch:
        """The hook's batch."""
        if self.changed:
            return self._hook(batch)
        before = _copy(batch)  # a user's hook may change it in place
        after = self._hook(batch)
        self.changed = not _are_equal(before, after)
        return after


T = TypeVar("T")


class StepWatch:
    """Whether hooks of a step ever changed a weight or a gradient, to the last bit.

    A strength can be so small that nothing changes in the precision of the weights. Until a change
    is seen, the first step of each epoch is compared.
    """

    def __init__(self, list_parameters: Callable[[], Iterable[nn.Parameter]]) -> None:
        self._list = list_parameters
        self.changed = False

    def wrap(self, hook: Callable[[T], None]) -> Watched[T]:
        """The hook, watched. It is called with one object in all steps of an epoch."""
        return Watched(self, hook)

    def list_values(self) -> list[tuple[Tensor, Tensor | None]]:
        """Copies of the weights and of their gradients."""
        return [_copy_values(p) for p in self._list()]

    def compare(self, before: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Note whether they have changed."""
        pairs = zip(before, self._list(), strict=True)
        self.changed = any(_differs(values, p) for values, p in pairs)


class Watched(Generic[T]):
    """A hook that a :class:`StepWatch` watches."""

    def __init__(self, watch: StepWatch, hook: Callable[[T], None]) -> None:
        self._watch, self.hook = watch, hook
        self._last: T | None = None

    def __call__(self, now: T) -> None:
        """Call the hook; the first call with an object is watched."""
        if not self.watches(now):
            self.hook(now)
            return
        self._last, before = now, self._watch.list_values()
        self.hook(now)
        self._watch.compare(before)

    def watches(self, now: T) -> bool:
        """Whether the next call, with this object, is watched."""
        return not self._watch.changed and now is not self._last


def _copy_values(parameter: nn.Parameter) -> tuple[Tensor, Tensor | None]:
    gradient = parameter.grad
    return parameter.detach().clone(), None if gradient is None else gradient.clone()


def _differs(values: tuple[Tensor, Tensor | None], parameter: nn.Parameter) -> bool:
    weight, gradient = values
    if not torch.equal(weight, parameter):
        return True
    if gradient is None or parameter.grad is None:
        return gradient is not parameter.grad
    return not torch.equal(gradient, parameter.grad)


def _copy(batch: Batch) -> Batch:
    x, y = (map_nest(lambda leaf: leaf.clone(), side) for side in (batch.x, batch.y))
    return replace(batch, x=x, y=y)


def _are_equal(one: Batch, other: Batch) -> bool:
    if one.smoothing != other.smoothing or (one.other_y is None) != (other.other_y is None):
        return False
    return _have_equal_leaves(one.x, other.x) and _have_equal_leaves(one.y, other.y)


def _have_equal_leaves(one: Nest, other: Nest) -> bool:
    leaves, others = list(list_leaves(one)), list(list_leaves(other))
    pairs = zip(leaves, others, strict=False)
    return len(leaves) == len(others) and all(_is_same(a, b) for a, b in pairs)


def _is_same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | (one.isnan() & other.isnan())).all())
