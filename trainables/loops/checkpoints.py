"""What a user's loop keeps so that its trial can be resumed: states, in plain types."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.unknown_names import did_you_mean, join_names
from trainables.errors import ContractError, blame
from trainables.return_checks import describe_returned

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_OF_TORCH = (torch.Size, torch.dtype, torch.device)
_MAPPINGS = (dict, OrderedDict, Counter)


def take_state(entries: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the entries on the CPU: the ``state_dict()`` of objects that have one.

    Raises:
        ContractError: an entry has something that cannot be loaded without running code.
    """
    return {name: _take(value, name) for name, value in entries.items()}


def _take(value: Any, name: str) -> Any:
    if not isinstance(value, type) and callable(getattr(value, "state_dict", None)):
        with blame("trainable", f"state_dict of the checkpoint's {name!r}"):
            value = value.state_dict()
    return _copy(value, name, name)


def _copy(value: Any, name: str, place: str) -> Any:
    """A copy of plain values and tensors."""
    if isinstance(value, Tensor) and type(value) in (Tensor, nn.Parameter):
        return value.detach().cpu().clone()
    if type(value) in _PLAIN or isinstance(value, _OF_TORCH):
        return value
    if type(value) in _MAPPINGS:
        copied = {k: _copy(v, name, f"{place}[{k!r}]") for k, v in value.items()}
        for key in copied:
            _copy(key, name, f"a key of {place}")
        return type(value)(copied)
    if type(value) in (list, tuple):
        return type(value)(_copy(v, name, f"{place}[{i}]") for i, v in enumerate(value))
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()  # a number of numpy
    raise ContractError(
        f"trial.checkpoint: {place} is {describe_returned(value)}, which cannot be loaded safely; "
        "give objects with state_dict, tensors, numbers, texts, and lists and dicts of them",
        "trainable",
    )


def load_state(state: Mapping[str, Any], objects: Mapping[str, Any]) -> None:
    """Load the entries of a checkpoint into objects, by name.

    Raises:
        ContractError: there is no such entry, or an object does not accept it.
    """
    for name, target in objects.items():
        if name not in state:
            raise ContractError(
                f"trial.restore: the checkpoint has no {name!r}{did_you_mean(name, state)}; it has "
                f"{join_names(state, ' and ') or 'nothing'}",
                "trainable",
            )
        if not callable(getattr(target, "load_state_dict", None)):
            raise ContractError(
                f"trial.restore: {name!r} is {describe_returned(target)}, which has no "
                f"load_state_dict; read its value as trial.restore()[{name!r}]",
                "trainable",
            )
        with blame("trainable", f"trial.restore: load_state_dict of {name!r}"):
            target.load_state_dict(copy.deepcopy(state[name]))
