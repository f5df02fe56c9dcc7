"""Whether what changes batches ever changed one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

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
