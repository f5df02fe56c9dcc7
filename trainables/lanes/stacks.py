"""The tensors of several networks as slices of common stacks, which their trainings go on using."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from trainables.data.nests import Nest, map_nest
from trainables.lanes.reasons import CannotFuseError


def list_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of a network by name, a shared one once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@torch.no_grad()
def join(models: Sequence[nn.Module]) -> list[Tensor]:
    """Stacks ``(L, …)`` of the networks' tensors, of which these become slices.

    The tensors stay the objects that optimisers and hooks know.
    """
    stacks = stack(models)
    for lane, model in enumerate(models):
        for whole, tensor in zip(stacks, list_tensors(model).values(), strict=True):
            tensor.data = whole[lane]
    return stacks


@torch.no_grad()
def stack(models: Sequence[nn.Module]) -> list[Tensor]:
    """Copies of the networks' tensors, in stacks ``(L, …)``."""
    rows = zip(*(list_tensors(model).values() for model in models), strict=True)
    return [_stack([tensor.detach() for tensor in row]) for row in rows]


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """A stack ``(L, …)`` of tensors of one layout, each laid out as it is alone."""
    made, first = torch.stack(list(tensors)), tensors[0]
    if made.stride()[1:] == first.stride():
        return made
    return torch.empty_strided(
        (len(made), *first.shape),
        (_reach(first), *first.stride()),
        dtype=first.dtype,
        device=first.device,
    ).copy_(made)


@torch.no_grad()
def part(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Give a network and what its optimiser keeps memory of their own again."""
    for tensor in list_tensors(model).values():
        tensor.data = tensor.data.clone()
        if tensor.grad is not None:
            tensor.grad = tensor.grad.clone()
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                value.data = value.data.clone()


@torch.no_grad()
def find_rows(tensors: Sequence[Tensor]) -> Tensor | None:
    """A view ``(L, n)`` of tensors that lie one after the other, as slices of a stack do."""
    first, size = tensors[0], tensors[0].numel()
    start, step, storage = first.data_ptr(), first.nbytes, first.untyped_storage().data_ptr()
    for number, tensor in enumerate(tensors):
        if (
            tensor.data_ptr() != start + number * step
            or tensor.shape != first.shape
            or tensor.dtype != first.dtype
            or not tensor.is_contiguous()
            or tensor.untyped_storage().data_ptr() != storage
        ):
            return None
    return first.detach().as_strided((len(tensors), size), (size, 1))


def join_rows(tensors: Sequence[Tensor]) -> Tensor | None:
    """A view ``(L, …)`` of such tensors, in their shape."""
    rows = find_rows(tensors)
    return None if rows is None else rows.view(len(tensors), *tensors[0].shape)


@torch.no_grad()
def share_rows(tensors: Sequence[Tensor]) -> Tensor | None:
    """Rows ``(L, n)`` of which the tensors become slices; None if they are not alike."""
    found = find_rows(tensors)
    if found is not None:
        return found
    if any(t.shape != tensors[0].shape or not t.is_contiguous() for t in tensors):
        return None
    whole = torch.stack([tensor.detach() for tensor in tensors])
    for tensor, row in zip(tensors, whole, strict=True):
        tensor.data = row
    return whole.view(len(tensors), -1)


def join_nests(nests: Sequence[Nest]) -> Nest:
    """One nest of the stacks ``(L, …)`` of the nests' tensors, each laid out as it is alone.

    Raises:
        CannotFuseError: the nests differ in more than values.
    """

    def join_leaves(*leaves: Tensor) -> Tensor:
        first = leaves[0]
        if any(
            leaf.shape != first.shape
            or leaf.dtype != first.dtype
            or leaf.stride() != first.stride()
            for leaf in leaves
        ):
            raise CannotFuseError("its trainings have batches of different shapes or types")
        return _stack(leaves)

    try:
        return map_nest(join_leaves, *nests)
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise CannotFuseError("its trainings have batches of different structure") from error


def pick_nest(nest: Nest, row: int) -> Nest:
    """A lane's part of a nest of stacks."""
    return map_nest(lambda leaf: leaf[row], nest)


def _reach(tensor: Tensor) -> int:
    """Entries of memory that a tensor spans."""
    return 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))


def own(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state whose tensors are no slices: ``torch.save`` writes all of what a slice is of."""

    def copy(value: Any) -> Any:
        if isinstance(value, Tensor) and value.untyped_storage().nbytes() > value.nbytes:
            return value.clone()
        return value

    return dict(pytree.tree_map(copy, dict(state)))


def copy_state(state: Any) -> Any:
    """A copy of a state; ``deepcopy`` of a slice copies all of what it is of."""
    leaves, spec = pytree.tree_flatten(state)
    copies = [v.clone() if isinstance(v, Tensor) else copy.deepcopy(v) for v in leaves]
    return pytree.tree_unflatten(copies, spec)
