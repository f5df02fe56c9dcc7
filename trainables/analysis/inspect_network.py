"""Looks at a finished training beside its scores. It never makes a training fail."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.analysis.held_out import load_weights
from trainables.analysis.input_columns import find_kept_columns
from trainables.analysis.robustness import measure_robustness
from trainables.config.inspection import Inspected
from trainables.config.robustness import Robustness
from trainables.data.splits import Splits
from trainables.run import Run


def inspect_weights(run: Run, splits: Splits, state: Mapping[str, Tensor]) -> Inspected:
    """How robust the weights ``state`` are, and which columns they read.

    What could not be found out has a reason instead, an error of user-defined code or too little
    memory.
    """
    try:
        with load_weights(run, state):
            columns = find_kept_columns(run, splits)
        return Inspected(measure_robustness(run, splits, state), columns)
    except (RuntimeError, MemoryError) as error:
        if not _is_of_memory(error):
            raise
        return Inspected(Robustness(reason="there was too little memory to measure it"))


def _is_of_memory(error: Exception) -> bool:
    """Whether memory is short; torch's allocator of the CPU has no error of its own."""
    own = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return own or "can't allocate memory" in str(error)
