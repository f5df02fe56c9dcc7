"""Random erasing: boxes of images set to 0."""

from __future__ import annotations

from dataclasses import replace

import torch

from trainables.config import regularisers as config
from trainables.data.batch import Batch
from trainables.regularisers.base import Need, Regulariser
from trainables.regularisers.parts import change_parts


class RandomErasing(Regulariser):
    """Erases a box of 2 to 33 % of an image with a given probability. Zhong et al. 2020."""

    order = 20
    needs = frozenset({Need.IMAGES})

    def __init__(self, config: config.RandomErasing) -> None:
        import kornia.augmentation as kornia

        self._erase = kornia.RandomErasing(
            scale=(0.02, 0.33), ratio=(0.3, 3.3), p=config.random_erasing
        )
        self.acts_on = config.random_erasing_on

    @torch.no_grad()
    def on_batch(self, batch: Batch) -> Batch:
        """The batch with boxes erased."""
        return replace(batch, x=change_parts(batch.x, self.acts_on, lambda _, x: self._erase(x)))
