"""Losses and metrics: those of the task, or user-defined functions."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F  # noqa: N812  # the conventional name
from torch import Tensor

from trainables.config.data_info import Task
from trainables.config.training import LossSpec
from trainables.errors import ContractError, blame
from trainables.functions import Function, load_function

OWN_LOSSES: Mapping[Task, str] = {
    Task.CLASSIFICATION: "cross_entropy",
    Task.MULTILABEL: "bce",
    Task.REGRESSION: "mse",
}


def load_loss(loss: LossSpec | str | None, task: Task) -> Function | None:
    """The user-defined loss of a spec; None for the loss of the task.

    Raises:
        ContractError: it is a loss of another task, or the path does not name a loss.
    """
    own = OWN_LOSSES[task]
    if isinstance(loss, LossSpec):
        with blame("training.loss"):
            return load_function(loss.path, loss.arguments)
    if loss is None or loss == own:
        return None
    known = loss in OWN_LOSSES.values()
    what = f"{loss!r} does not fit {task}" if known else f"unknown loss {loss!r}"
    raise ContractError(
        f"{what}; valid: {own}, or an import path such as torch.nn:HuberLoss",
        "training.loss",
    )


def compute_losses(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """The loss of each sample ``(B,)``: cross-entropy, mean binary cross-entropy or MSE."""
    match task:
        case Task.CLASSIFICATION:
            return F.cross_entropy(outputs, targets, reduction="none")
        case Task.MULTILABEL:
            losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
            return losses.mean(1)
        case Task.REGRESSION:
            return F.mse_loss(outputs, targets, reduction="none").flatten(1).mean(1)


def compute_metrics(outputs: Tensor, targets: Tensor, task: Task) -> dict[str, Tensor]:
    """Metrics of each sample ``(B,)``; multi-label accuracy is the fraction of correct labels."""
    match task:
        case Task.CLASSIFICATION:
            return {"accuracy": (outputs.argmax(1) == targets).to(outputs.dtype)}
        case Task.MULTILABEL:
            return {"accuracy": ((outputs > 0) == (targets > 0.5)).to(outputs.dtype).mean(1)}
        case Task.REGRESSION:
            return {"mae": (outputs - targets).abs().flatten(1).mean(1)}


def smooth_labels(losses: Tensor, outputs: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy against targets mixed with the uniform distribution. Szegedy et al. 2016."""
    if not smoothing:
        return losses
    return (1 - smoothing) * losses - smoothing * outputs.log_softmax(1).mean(1)
