"""Checks of what user-defined losses, metrics and steps return, with messages that say both sides:
what came, and what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainables.data.nests import describe_nest
from trainables.errors import ContractError

_SHOWN = 40
_KEYS = 6
_STEP = "the loss of the batch, a float tensor of shape () with a gradient"


def describe_returned(value: object) -> str:
    """A value for an error: ``None``, ``float 0.5``, ``a tensor of int64 (8,)``, ``a dict …``."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"a tensor of {describe_nest(value)}"
    if isinstance(value, Mapping):
        keys = ", ".join(map(str, list(value)[:_KEYS]))
        return f"a {type(value).__name__} with {f'the keys {keys}' if keys else 'no keys'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, bool | int | float | str):
        return f"{type(value).__name__} {repr(value)[:_SHOWN]}"
    return type(value).__name__


def check_step(loss: object, name: str) -> Tensor:
    """The loss of a training step.

    Raises:
        ContractError: ``name`` returned something that cannot be minimised.
    """
    if not (isinstance(loss, Tensor) and loss.ndim == 0 and loss.is_floating_point()):
        raise ContractError(f"{name} returned {describe_returned(loss)}; expected: {_STEP}")
    if not loss.requires_grad:
        raise ContractError(
            f"{name} returned a loss without a gradient; expected: {_STEP}. `detach`, `item`, "
            "`numpy`, `torch.no_grad` or a new tensor cut it off from the weights"
        )
    return loss


def check_losses(losses: object, count: int, name: str) -> Tensor:
    """Losses of ``count`` samples: of each, ``(count,)``, or one of all, ``()``.

    Raises:
        ContractError: ``name`` returned something else.
    """
    fits = isinstance(losses, Tensor) and losses.is_floating_point()
    if not (isinstance(losses, Tensor) and fits and losses.shape in ((), (count,))):
        raise ContractError(
            f"{name} returned {describe_returned(losses)}; expected: a float tensor with one loss "
            f"per sample, ({count},), or one of all of them, ()"
        )
    return losses


def read_values(values: Any, count: int, name: str) -> Tensor:
    """A metric of ``count`` samples: of each, ``(count,)``, or one of all, ``()``.

    Raises:
        ContractError: ``name`` returned something else.
    """
    tensor = _read_tensor(values)
    if tensor is None or tuple(tensor.shape) not in ((), (count,)):
        raise ContractError(
            f"{name} returned {describe_returned(values)}; expected: one value per sample, "
            f"({count},), or one of all of them, ()"
        )
    return tensor


def read_number(value: Any, name: str, hint: str = "") -> float:
    """One number, from a number or a tensor or array with one element.

    Raises:
        ContractError: ``name`` is something else.
    """
    tensor = _read_tensor(value)
    if tensor is None or tensor.numel() != 1:
        raise ContractError(f"{name} is {describe_returned(value)}; expected: one number{hint}")
    return float(tensor.detach())


def check_metric_name(name: object, owner: str) -> None:
    """Check that a metric can be logged as ``val/NAME``.

    Raises:
        ContractError: it cannot.
    """
    if not (isinstance(name, str) and name.strip() and name.isprintable() and "/" not in name):
        raise ContractError(
            f"{owner} returned a metric named {name!r}; expected: a printable text without '/'"
        )


def check_named(values: object, owner: str) -> Mapping[str, Any]:
    """Values by the names of metrics.

    Raises:
        ContractError: ``owner`` returned no mapping, or a name that cannot be logged.
    """
    if not isinstance(values, Mapping):
        raise ContractError(
            f"{owner} returned {describe_returned(values)}; expected: a dict with values by the "
            "names of metrics"
        )
    for name in values:
        check_metric_name(name, owner)
    return values


def _read_tensor(values: Any) -> Tensor | None:
    if values is None or isinstance(values, str | Mapping):
        return None
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):  # of what no tensor can be made
        return None
    return None if tensor.is_complex() else tensor
