"""What a network needs to know about its data: shapes, task and kind of input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Task(StrEnum):
    """What is predicted; ``OTHER`` has a loss of the user's own."""

    CLASSIFICATION = "classification"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"
    OTHER = "other"


class Kind(StrEnum):
    """The kind of the inputs, which determines the valid augmentations.

    An image is an array of floats ``(C, H, W)``, a row of a table one of ``(features,)``; anything
    else is ``OTHER``: series, token ids, nests of arrays.
    """

    IMAGE = "image"
    TABLE = "table"
    OTHER = "other"


Shape = tuple[int, ...] | Mapping[str, Any] | tuple[Any, ...]
"""The shape of one sample, or a nest of shapes."""


@dataclass(frozen=True)
class DataInfo:
    """``input_shape`` is the shape of one sample, or a nest of shapes where inputs are a nest.

    ``outputs`` is the number of classes, of labels, or of target dimensions.
    """

    input_shape: Any
    task: Task
    outputs: int
    kind: Kind
