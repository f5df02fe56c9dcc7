"""What a network needs to know about its data: shapes, task and kind of input."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Task(StrEnum):
    """What is predicted."""

    CLASSIFICATION = "classification"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"


class Kind(StrEnum):
    """The kind of the inputs, which determines the valid augmentations."""

    IMAGE = "image"
    TABLE = "table"


@dataclass(frozen=True)
class DataInfo:
    """``input_shape`` is the shape of one sample, ``(C, H, W)`` or ``(features,)``.

    ``outputs`` is the number of classes, of labels, or of target dimensions.
    """

    input_shape: tuple[int, ...]
    task: Task
    outputs: int
    kind: Kind
