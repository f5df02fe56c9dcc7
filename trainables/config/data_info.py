"""What a network must know of its data: shapes, the task, the kind of input."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Task(StrEnum):
    """What is predicted."""

    CLASSIFICATION = "classification"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"


class Kind(StrEnum):
    """What the inputs are, which decides the augmentations there are."""

    IMAGE = "image"
    TABLE = "table"


@dataclass(frozen=True)
class DataInfo:
    """``input_shape`` is one sample's, ``(C, H, W)`` or ``(features,)``.

    ``outputs`` is the number of classes, of labels, or of target dimensions.
    """

    input_shape: tuple[int, ...]
    task: Task
    outputs: int
    kind: Kind
