"""Label smoothing: targets mixed with the uniform distribution over the classes."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo, Task
from trainables.data.batch import Batch
from trainables.regularisers.base import Regulariser


class LabelSmoothing(Regulariser):
    """Sets the batch's weight of the uniform distribution. Szegedy et al. 2016, section 7."""

    def __init__(self, config: config.LabelSmoothing) -> None:
        self._smoothing = config.label_smoothing

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Check that the task is classification."""
        if info.task is Task.CLASSIFICATION:
            return None
        return f"requires classification; the task is {info.task}"

    def on_batch(self, batch: Batch) -> Batch:
        """The batch with the weight of the uniform distribution."""
        return replace(batch, smoothing=self._smoothing)
