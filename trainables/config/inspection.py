"""What is found of a trained network beside its scores, as a record that does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.config.input_columns import KeptColumns
from trainables.config.robustness import Robustness


@dataclass(frozen=True)
class Inspected:
    """One set of weights: how robust they are, and which columns of a table they read."""

    robustness: Robustness
    columns: KeptColumns | None = None
