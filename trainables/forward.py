"""Calls networks as people write them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from torch import Tensor, nn

from trainables.data.batch import LABELS
from trainables.data.nests import Nest
from trainables.distributed.process import unwrap
from trainables.errors import ContractError
from trainables.return_checks import describe_returned


def call_network(model: nn.Module, inputs: Nest) -> Any:
    """``model(x)``; ``model(*x)`` for a tuple or list of inputs, ``model(**x)`` for a mapping.

    A network that does not take ``labels`` is called without them.
    """
    if isinstance(inputs, Mapping):
        given = {n: v for n, v in inputs.items() if n != LABELS or computes_loss(model, inputs)}
        return model(**given)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)


def computes_loss(model: nn.Module, inputs: Nest) -> bool:
    """Whether the network is given its ``labels``, and returns a loss as models of HF do."""
    if not isinstance(inputs, Mapping) or LABELS not in inputs:
        return False
    return _takes_labels(type(unwrap(model)).forward)


@cache
def _takes_labels(forward: Callable[..., Any]) -> bool:
    parameters = inspect.signature(forward).parameters
    return LABELS in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def read_loss(made: Any) -> Tensor:
    """The loss that a network computed from ``labels`` among its inputs.

    Raises:
        ContractError: it returned none.
    """
    loss = getattr(made, "loss", None)
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not hasattr(made, "logits"):
        raise ContractError(
            f"a network that takes {LABELS!r} computes its loss itself, as models of transformers "
            f"do: it returns an object with `.loss` and `.logits`. "
            f"{_describe_made(made)}; name a loss by training.loss, or do not take {LABELS!r}"
        )
    return loss.reshape(())


def _describe_made(made: Any) -> str:
    if not hasattr(made, "logits"):
        return f"It returned {describe_returned(made)}"
    return f"The `.loss` that it returned is {describe_returned(getattr(made, 'loss', None))}"


def read_outputs(made: Any) -> Any:
    """The outputs of a network: ``.logits`` where it returns an object that has them."""
    return made.logits if hasattr(made, "logits") else made
