"""The losses and metrics of a task, for one value or class a sample, or one for each position.

Positions are pixels ``(B, C, H, W)`` or tokens ``(B, T, V)``: a sample's value is the mean over its
positions, without those whose target is ``IGNORED``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F  # noqa: N812  # the conventional name
from torch import Tensor

from trainables.config.data_info import DataInfo, Task
from trainables.config.imports import suggest_path
from trainables.config.training import LossSpec
from trainables.errors import ContractError, blame
from trainables.functions import Function, load_function

OWN_LOSSES: Mapping[Task, str] = {
    Task.CLASSIFICATION: "cross_entropy",
    Task.MULTILABEL: "bce",
    Task.REGRESSION: "mse",
}
IGNORED = -100
"""The target of a position that does not count, as in torch's cross-entropy."""
_OF_SAMPLES = 2


def load_loss(loss: LossSpec | str | None, task: Task) -> Function | None:
    """The user-defined loss of a spec; None for the loss of the task.

    Raises:
        ContractError: it is a loss of another task, or the path does not name a loss.
    """
    own = OWN_LOSSES.get(task)
    if isinstance(loss, LossSpec):
        with blame("training.loss"):
            return load_function(loss.path, loss.arguments)
    if loss is None or loss == own:
        return None
    known = loss in OWN_LOSSES.values()
    what = f"{loss!r} does not fit {task}" if known else f"unknown loss {loss!r}"
    valid = f"{own}, or " if own else ""
    raise ContractError(
        f"{what}; valid: {valid}an import path such as torch.nn:HuberLoss{suggest_path(loss)}",
        "training.loss",
    )


def check_outputs(outputs: Any, targets: Any, info: DataInfo) -> None:
    """Check that the loss of the task can be computed.

    Raises:
        ContractError: the shapes of outputs and targets do not fit, or a class has no output.
    """
    check_shapes(outputs, targets, info)
    if info.task is Task.CLASSIFICATION and not is_one_logit(outputs, targets):
        _check_classes(outputs.shape[find_class_axis(outputs, targets)], targets)


def check_shapes(outputs: Any, targets: Any, info: DataInfo) -> None:
    """Check that the built-in loss of the task is for outputs and targets like these.

    Raises:
        ContractError: it is not.
    """
    if fits(outputs, targets, info.task):
        return
    if info.task is Task.OTHER or not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        several = isinstance(outputs, Tensor)
        what = "such targets" if several else f"outputs of type {type(outputs).__name__}"
        raise ContractError(
            f"no built-in loss is for {what}; name one by training.loss, a function of outputs and "
            "targets, or subclass gapsweep.Trainable and define `losses`"
        )
    shapes = f"outputs of shape {tuple(outputs.shape)} for targets of shape {tuple(targets.shape)}"
    raise ContractError(
        f"the network returns {shapes}; {info.task} needs {_describe_shapes(targets, info)}"
    )


def _check_classes(classes: int, targets: Tensor) -> None:
    used = targets[targets != IGNORED]
    if used.numel() and not (used.min() >= 0 and used.max() < classes):
        low, high = float(used.min()), float(used.max())
        raise ContractError(
            f"the targets are classes from {low:g} to {high:g}, and the network has {classes} "
            f"outputs; classes are numbers from 0 to {classes - 1}: renumber them"
        )


def fits(outputs: Any, targets: Any, task: Task) -> bool:
    """Whether the built-in loss and metrics of a task are for outputs and targets like these."""
    if task is Task.OTHER or not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return False
    if not outputs.ndim or len(outputs) != len(targets):
        return False
    if task is not Task.CLASSIFICATION:
        return outputs.numel() == targets.numel()
    return is_one_logit(outputs, targets) or find_class_axis(outputs, targets) != 0


def _describe_shapes(targets: Tensor, info: DataInfo) -> str:
    batch, shape = len(targets), tuple(targets.shape)
    if info.task is not Task.CLASSIFICATION:
        return f"{shape}"
    if targets.numel() == batch:
        one = f", or one logit, ({batch}, 1)" if info.outputs == _OF_SAMPLES else ""
        return f"({batch}, {info.outputs}){one}"
    spread = ", ".join(map(str, shape[1:]))
    return f"({batch}, classes, {spread}) or ({batch}, {spread}, classes)"


def is_one_logit(outputs: Tensor, targets: Tensor) -> bool:
    """Whether the network has one logit a sample, for two classes."""
    return outputs.numel() == len(outputs) == targets.numel() == len(targets)


def find_class_axis(outputs: Tensor, targets: Tensor) -> int:
    """The axis of the classes: 1, the last one, or 0 for none."""
    if targets.numel() == len(targets) and outputs.ndim == _OF_SAMPLES:
        return 1
    last, second = outputs.shape[:-1], (*outputs.shape[:1], *outputs.shape[2:])
    if last == targets.shape and (targets.ndim == _OF_SAMPLES or second != targets.shape):
        return outputs.ndim - 1
    return int(second == targets.shape)


def compute_losses(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """The loss of each sample ``(B,)``: cross-entropy, mean binary cross-entropy or MSE."""
    match task:
        case Task.CLASSIFICATION:
            return _compute_cross_entropy(outputs, targets)
        case Task.MULTILABEL:
            aim = targets.reshape(outputs.shape).to(outputs.dtype)
            losses = F.binary_cross_entropy_with_logits(outputs, aim, reduction="none")
            return losses.flatten(1).mean(1)
        case _:
            aim = targets.reshape(outputs.shape).to(outputs.dtype)
            return _average(F.mse_loss(outputs, aim, reduction="none"))


def _compute_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    if is_one_logit(outputs, targets):
        logits, aim = outputs.flatten(), targets.flatten().to(outputs.dtype)
        return F.binary_cross_entropy_with_logits(logits, aim, reduction="none")
    axis = find_class_axis(outputs, targets)
    if outputs.ndim == _OF_SAMPLES:
        return F.cross_entropy(outputs, targets.reshape(len(targets)).long(), reduction="none")
    losses = F.cross_entropy(outputs.movedim(axis, 1), targets.long(), reduction="none")
    return _average_valid(losses, targets)


def compute_metrics(
    outputs: Tensor, targets: Tensor, task: Task, threshold: float = 0.0
) -> dict[str, Tensor]:
    """Metrics of each sample ``(B,)``; accuracy is the fraction of correct labels or positions.

    An output above the ``threshold`` is a label, or the second of two classes: 0 for logits.
    """
    match task:
        case Task.CLASSIFICATION:
            return {"accuracy": _compute_accuracy(outputs, targets, threshold)}
        case Task.MULTILABEL:
            right = (outputs > threshold) == (targets.reshape(outputs.shape) > 0.5)
            return {"accuracy": right.to(outputs.dtype).flatten(1).mean(1)}
        case _:
            return {"mae": _average((outputs - targets.reshape(outputs.shape)).abs())}


def _compute_accuracy(outputs: Tensor, targets: Tensor, threshold: float) -> Tensor:
    if is_one_logit(outputs, targets):
        return ((outputs.flatten() > threshold) == (targets.flatten() > 0.5)).to(outputs.dtype)
    chosen = outputs.argmax(find_class_axis(outputs, targets))
    if outputs.ndim == _OF_SAMPLES:
        return (chosen == targets.reshape(len(targets))).to(outputs.dtype)
    return _average_valid((chosen == targets).to(outputs.dtype), targets)


def smooth_labels(
    losses: Tensor, outputs: Tensor, targets: Tensor, smoothing: float | Tensor
) -> Tensor:
    """Cross-entropy against targets mixed with the uniform distribution. Szegedy et al. 2016.

    ``smoothing`` is a number, or 0-dim of float64.
    """
    if not isinstance(smoothing, Tensor) and not smoothing:
        return losses
    if is_one_logit(outputs, targets):
        logits = outputs.flatten()
        uniform = -0.5 * (F.logsigmoid(logits) + F.logsigmoid(-logits))
    else:
        axis = find_class_axis(outputs, targets)
        uniform = -outputs.log_softmax(axis).mean(axis)
        uniform = uniform if uniform.ndim == 1 else _average_valid(uniform, targets)
    if isinstance(smoothing, Tensor):  # rounded as a number is
        kept, smoothing = (1 - smoothing).to(losses.dtype), smoothing.to(losses.dtype)
        return kept * losses + smoothing * uniform
    return (1 - smoothing) * losses + smoothing * uniform


def _average(values: Tensor) -> Tensor:
    """The mean over all axes but the first."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def _average_valid(values: Tensor, targets: Tensor) -> Tensor:
    """The mean over the positions of each sample that count; 0 if there are none."""
    counts = (targets != IGNORED).flatten(1)
    total = (values.flatten(1) * counts).sum(1)
    return total / counts.sum(1).clamp(min=1)
