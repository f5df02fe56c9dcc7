"""Losses and metrics: those of the task, or user-defined functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping

import torch.nn.functional as F  # noqa: N812  # the conventional name
from torch import Tensor, nn

from trainables.config.code_policy import LOSS, load_named
from trainables.config.data_info import Task
from trainables.config.training import MetricSpec
from trainables.errors import ContractError, blame

Function = Callable[[Tensor, Tensor], Tensor]
OWN_LOSSES: Mapping[Task, str] = {
    Task.CLASSIFICATION: "cross_entropy",
    Task.MULTILABEL: "bce",
    Task.REGRESSION: "mse",
}


def load_loss(name: str | None, task: Task) -> Function | None:
    """The user-defined loss at an import path; None for the loss of the task.

    Raises:
        ContractError: it is a loss of another task, or the path does not name a callable.
    """
    own = OWN_LOSSES[task]
    if name is None or name == own:
        return None
    if ":" in name:
        with blame("training.loss"):
            return _load_function(name)
    known = name in OWN_LOSSES.values()
    what = f"{name!r} does not fit {task}" if known else f"unknown loss {name!r}"
    raise ContractError(
        f"{what}; valid: {own}, or an import path such as torch.nn:HuberLoss",
        "training.loss",
    )


def load_metrics(specs: Iterable[MetricSpec]) -> dict[str, Function]:
    """The user-defined metrics by name.

    Raises:
        ContractError: a path does not name a callable.
    """
    with blame("training.metrics"):
        return {spec.name: _load_function(spec.path) for spec in specs}


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


def _load_function(path: str) -> Function:
    found = load_named(path, LOSS)
    if inspect.isclass(found):
        found = found() if issubclass(found, nn.Module) else found
    if not callable(found) or inspect.isclass(found):
        raise ContractError(
            f"{path} must be a function of outputs and targets, or a loss that is an nn.Module"
        )
    return found
