"""Label smoothing: targets mixed with the uniform distribution over the classes."""

from __future__ import annotations

from dataclasses import replace

from trainables.config import regularisers as config
from trainables.data.batch import Batch
from trainables.regularisers.base import Need, Regulariser


class LabelSmoothing(Regulariser):
    """Sets the batch's weight of the uniform distribution. Szegedy et al. 2016, section 7."""

    needs = frozenset({Need.CLASSES, Need.SMOOTHING})

    def __init__(self, config: config.LabelSmoothing) -> None:
        self._smoothing = config.label_smoothing

    def on_batch(self, batch: Batch) -> Batch:
        """The batch with the weight of the uniform distribution."""
        return replace(batch, smoothing=self._smoothing)
