"""Targets mixed with the uniform distribution over the classes."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo, Task
from trainables.data.batch import Batch
from trainables.regularisers.base import Regulariser


class LabelSmoothing(Regulariser):
    """Szegedy et al. 2016, section 7; the loss reads the weight from the batch."""

    def __init__(self, config: config.LabelSmoothing) -> None:
        self._smoothing = config.label_smoothing

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """It is for classification."""
        if info.task is Task.CLASSIFICATION:
            return None
        return f"it is for classification; the task is {info.task}"

    def on_batch(self, batch: Batch) -> Batch:
        """The batch with the uniform distribution's weight."""
        return replace(batch, smoothing=self._smoothing)
