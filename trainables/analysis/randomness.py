"""Finds the modules of a network that still draw random numbers, by what they do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from trainables.devices import list_generators

_MOST = 32


def find_random_modules(model: nn.Module, inputs: Tensor) -> tuple[str, ...]:
    """The modules whose outputs in training mode depend on the random seed, innermost first.

    The network runs twice in training mode from the same state, with different seeds. The first
    module that turns equal inputs into different outputs is named and put into eval mode, until
    both passes agree. A batch norm draws nothing: it depends on the batch alone. The network
    itself has the empty name.
    """
    probe = copy.deepcopy(model).train()
    found: list[str] = []
    while len(found) < _MOST:
        name = _find_first(probe, inputs)
        if name is None or name in found:
            break
        found.append(name)
        if not name:
            break
        probe.get_submodule(name).eval()
    return tuple(found)


def _find_first(model: nn.Module, inputs: Tensor) -> str | None:
    """The name of the first module whose outputs differ while its inputs are equal."""
    first, second = (_record(copy.deepcopy(model), inputs, seed) for seed in (1, 2))
    for (name, before, after), (_, other_before, other_after) in zip(first, second, strict=False):
        if _is_equal(before, other_before) and not _is_equal(after, other_after):
            return name
    return None


@torch.no_grad()
def _record(model: nn.Module, inputs: Tensor, seed: int) -> list[tuple[str, Any, Any]]:
    """Name, inputs and outputs of every module in the order in which their calls end."""
    calls: list[tuple[str, Any, Any]] = []

    def remember(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
            calls.append((name, _copy((args, kwargs)), _copy(outputs)))

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(remember(name), with_kwargs=True)
    with torch.random.fork_rng(list_generators(str(inputs.device))):
        torch.manual_seed(seed)
        model(inputs)
    return calls


def _copy(values: Any) -> Any:
    """A nest with copies of its tensors, which later calls may change in place."""
    return pytree.tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), values)


def _is_equal(a: Any, b: Any) -> bool:
    left, right = (
        [leaf for leaf in pytree.tree_leaves(nest) if isinstance(leaf, Tensor)] for nest in (a, b)
    )
    return len(left) == len(right) and all(
        x.shape == y.shape and torch.equal(x, y) for x, y in zip(left, right, strict=True)
    )
