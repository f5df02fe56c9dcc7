"""Users' losses and metrics: functions and objects by import path, with arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from trainables.config.code_policy import describe_function, load_named
from trainables.config.construct import check_options, construct
from trainables.errors import ContractError

_HOW = (
    "it is called with the outputs and the targets, which are one tuple or dict where a sample has "
    "several; other arguments are keys beside `path`"
)
Function = Callable[[Any, Any], Any]
"""A function of a network's outputs and the targets."""


@runtime_checkable
class MetricObject(Protocol):
    """A metric that collects batches, as those of torchmetrics do."""

    def update(self, outputs: Any, targets: Any) -> object:
        """Take a batch into account."""

    def compute(self) -> Any:
        """The metric of all batches so far."""

    def reset(self) -> object:
        """Forget all batches."""


@dataclass(frozen=True)
class Pooled:
    """A function that is called once, with the outputs and targets of a whole split.

    ``outputs`` and ``targets`` are those of one batch; those of all batches are joined along the
    first dimension. It returns a value for each sample, ``(N,)``, or one of all of them, ``()``.
    ``where`` and ``name`` are the key of the spec and the name of the function in errors.
    """

    function: Function
    outputs: Any
    targets: Any
    where: str = "trainable"
    name: str = ""


Measured = Tensor | tuple[Any, Any] | Pooled | MetricObject
"""What is measured of a batch: ``(B,)``, a sum and its count, or what needs the whole split."""


def load_function(path: str, arguments: Mapping[str, Any]) -> Function:
    """A loss or metric that is a function, or an ``nn.Module``, of outputs and targets.

    Raises:
        ContractError: it is something else, or does not take these arguments.
    """
    found = load(path, arguments)
    if isinstance(found, MetricObject):
        raise ContractError(
            f"{path} is a metric with a state; a loss is a function of outputs and targets"
        )
    return found


def load(path: str, arguments: Mapping[str, Any]) -> Function | MetricObject:
    """A metric: a function, an ``nn.Module``, or an object with ``update`` and ``compute``.

    Lists of numbers become tensors where an argument is annotated as one.

    Raises:
        ContractError: the process's policy refuses it, it is something else, or does not take
            these arguments.
    """
    found = load_named(path, describe_function(arguments), arguments)
    if inspect.isclass(found):
        made = construct(path, _make_tensors(found, arguments), checked=True)
        if isinstance(made, MetricObject):
            return made
        if isinstance(made, nn.Module):
            return _OnDevice(made)
        raise ContractError(
            f"{path} is a class without `update`, `compute` and `reset`; a metric is such a "
            "class, an nn.Module, or a function of outputs and targets"
        )
    if not callable(found):
        raise ContractError(
            f"{path} is {type(found).__name__}, not a function of outputs and targets"
        )
    check_options(path, found, arguments, dict.fromkeys(_list_first_two(found)), _HOW)
    return _WithArguments(found, _make_tensors(found, arguments)) if arguments else found


class _OnDevice:
    """A module that follows its inputs to their device, with weights such as those of classes."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._device = module, torch.device("cpu")

    def __call__(self, outputs: Any, targets: Any) -> Any:
        device = find_device(outputs)
        if device != self._device:
            self._module, self._device = self._module.to(device), device
        return self._module(outputs, targets)


class _WithArguments:
    """A function with arguments of the spec; tensors among them follow the inputs' device."""

    def __init__(self, function: Function, arguments: Mapping[str, Any]) -> None:
        self._function, self._arguments = function, dict(arguments)

    def __call__(self, outputs: Any, targets: Any) -> Any:
        device = find_device(outputs)
        arguments = pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device), self._arguments)
        return self._function(outputs, targets, **arguments)


def find_device(values: Any) -> torch.device:
    """The device of the first tensor of a nest; the CPU if it has none."""
    tensors = (v for v in pytree.tree_leaves(values) if isinstance(v, Tensor))
    return next((t.device for t in tensors), torch.device("cpu"))


def _make_tensors(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # a builtin without a signature
        return dict(arguments)
    tensors = {n for n, p in parameters.items() if "Tensor" in str(p.annotation)}
    return {
        k: torch.tensor(v, dtype=torch.float32) if k in tensors and isinstance(v, list) else v
        for k, v in arguments.items()
    }


def _list_first_two(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)[:2]
    except ValueError:  # a builtin without a signature
        return []
