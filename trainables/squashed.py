"""Whether a network's outputs are probabilities already, where a loss takes logits."""

from __future__ import annotations

import re

from torch import Tensor

from trainables.config.data_info import Task
from trainables.errors import ContractError

_OF_LOGITS = {Task.CLASSIFICATION: "cross-entropy", Task.MULTILABEL: "binary cross-entropy"}
_SQUASHING = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
_VIEWS = re.compile(r"(Unsafe)?(View|Reshape|Squeeze|Unsqueeze|Transpose|Permute|T|Alias|ToCopy)")


def check_logits(outputs: object, task: Task) -> None:
    """Check that the last calculation of outputs with a gradient is neither softmax nor sigmoid.

    The built-in losses of classes and labels apply these themselves: after another one the loss
    has a floor far above 0, and a class is chosen by logits that are never negative.

    Raises:
        ContractError: it is one of them.
    """
    last = _find_last(outputs)
    if last in _SQUASHING and task in _OF_LOGITS:
        name = _SQUASHING[last]
        raise ContractError(
            f"the network ends in a {name}, and the built-in loss, {_OF_LOGITS[task]}, applies it "
            f"again: return the values before the {name}, or name a loss of probabilities by "
            "training.loss"
        )


def are_of_sigmoid(outputs: object) -> bool:
    """Whether a sigmoid is the last calculation of outputs with a gradient."""
    return _find_last(outputs) == "Sigmoid"


def _find_last(outputs: object) -> str:
    """The last calculation that does more than view its values, by its name in torch's graph."""
    node = outputs.grad_fn if isinstance(outputs, Tensor) else None
    while node is not None:
        name = node.name().partition("Backward")[0]
        if not _VIEWS.match(name):
            return name
        node = node.next_functions[0][0] if node.next_functions else None
    return ""
