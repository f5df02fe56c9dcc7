"""Calls networks as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from trainables.data.batch import LABELS
from trainables.data.nests import Nest


def call_network(model: nn.Module, inputs: Nest) -> Any:
    """``model(x)``; ``model(*x)`` for a tuple or list of inputs, ``model(**x)`` for a mapping."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)


def computes_loss(inputs: Nest) -> bool:
    """Whether the network is given its ``labels``, and returns a loss as models of HF do."""
    return isinstance(inputs, Mapping) and LABELS in inputs


def read_outputs(made: Any) -> Any:
    """The outputs of a network: ``.logits`` where it returns an object that has them."""
    return made.logits if hasattr(made, "logits") else made
