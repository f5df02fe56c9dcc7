"""Random erasing: boxes of images set to 0."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo, Kind
from trainables.data.batch import Batch
from trainables.regularisers.base import Regulariser


class RandomErasing(Regulariser):
    """Erases a box of 2 to 33 % of an image with a given probability. Zhong et al. 2020."""

    order = 20

    def __init__(self, config: config.RandomErasing) -> None:
        import kornia.augmentation as kornia

        self._erase = kornia.RandomErasing(
            scale=(0.02, 0.33), ratio=(0.3, 3.3), p=config.random_erasing
        )

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Check that the inputs are images."""
        if info.kind is Kind.IMAGE:
            return None
        return f"requires images; the inputs are a {info.kind}"

    @torch.no_grad()
    def on_batch(self, batch: Batch) -> Batch:
        """The batch with boxes erased."""
        return replace(batch, x=self._erase(batch.x))
