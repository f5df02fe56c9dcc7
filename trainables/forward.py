"""Calls networks as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from trainables.data.batch import LABELS
from trainables.data.nests import Nest
from trainables.errors import ContractError
from trainables.returned import describe_returned


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


def read_loss(made: Any) -> Tensor:
    """The loss that a network computed from ``labels`` among its inputs.

    Raises:
        ContractError: it returned none.
    """
    loss = getattr(made, "loss", None)
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not hasattr(made, "logits"):
        raise ContractError(
            f"a network whose inputs have the key {LABELS!r} computes its loss itself, as models "
            f"of transformers do: it returns an object with `.loss` and `.logits`. "
            f"{_describe_made(made)}; name a loss by training.loss, or rename the key and return "
            "inputs and targets as a pair"
        )
    return loss.reshape(())


def _describe_made(made: Any) -> str:
    if not hasattr(made, "logits"):
        return f"It returned {describe_returned(made)}"
    return f"The `.loss` that it returned is {describe_returned(getattr(made, 'loss', None))}"


def read_outputs(made: Any) -> Any:
    """The outputs of a network: ``.logits`` where it returns an object that has them."""
    return made.logits if hasattr(made, "logits") else made
