"""The expected calibration error of a classification."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.config.data_info import Task
from trainables.losses import IGNORED, find_class_axis, fits, is_one_logit

BINS = 15


@dataclass(frozen=True)
class Confidence:
    """The probabilities that a network gave its chosen classes, and which it chose rightly."""

    probability: Tensor
    right: Tensor


def find_confidence(
    outputs: Any, targets: Any, task: Task, threshold: float = 0.0
) -> Confidence | None:
    """Of every sample, or every position that counts; None if the outputs are not of classes.

    Outputs are logits ``(B, C)``, ``(B, 1)`` of two classes, or with positions; or probabilities,
    if they are such: of two classes if the ``threshold`` between them is not 0.
    """
    if task is not Task.CLASSIFICATION or not fits(outputs, targets, task):
        return None
    if is_one_logit(outputs, targets):
        chance = outputs.flatten().double() if threshold else outputs.flatten().double().sigmoid()
        right = (chance > 0.5) == (targets.flatten() > 0.5)
        return Confidence(torch.maximum(chance, 1 - chance), right)
    axis = find_class_axis(outputs, targets)
    probability, chosen = _read_probabilities(outputs.double(), axis).max(axis)
    wanted = targets.reshape(chosen.shape)
    counts = wanted != IGNORED
    return Confidence(probability[counts], (chosen == wanted)[counts])


def _read_probabilities(values: Tensor, axis: int) -> Tensor:
    given = bool((values >= 0).all()) and bool(((values.sum(axis) - 1).abs() < 1e-3).all())
    return values if given else values.softmax(axis)


def measure_calibration_error(found: Iterable[Confidence], bins: int = BINS) -> float:
    """The mean difference of confidence and accuracy over equal bins of confidence, by samples.

    Guo et al. 2017, On calibration of modern neural networks, equation 3. NaN without samples.
    """
    parts = list(found)
    probability = torch.cat([p.probability for p in parts]).cpu()
    right = torch.cat([p.right for p in parts]).double().cpu()
    if not len(probability) or not bool(probability.isfinite().all()):
        return float("nan")
    place = (probability * bins).ceil().long().clamp(1, bins) - 1
    surplus = torch.zeros(bins, dtype=torch.float64).index_add(0, place, probability - right)
    return float(surplus.abs().sum() / len(probability))
