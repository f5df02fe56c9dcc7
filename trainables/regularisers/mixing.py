"""Mixup and CutMix: samples mixed with other samples of their batch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo, Kind
from trainables.data.batch import Batch
from trainables.regularisers.base import Regulariser, explain_discrete


class Mixing(Regulariser):
    """Mixes every batch by mixup or CutMix, chosen with equal probability if both are on."""

    order = 40

    def __init__(self, config: config.Mixing) -> None:
        self._mixup, self._cutmix = config.mixup, config.cutmix

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Check that inputs can be mixed: images if CutMix is on, else floats."""
        if self._cutmix and info.kind is not Kind.IMAGE:
            return (
                f"requires images of shape (channels, height, width); {info.kind} inputs are none"
            )
        return explain_discrete(info)

    def on_batch(self, batch: Batch) -> Batch:
        """The mixed batch."""
        both = self._mixup and self._cutmix
        if self._cutmix and (not both or torch.rand(()) < 0.5):
            return cutmix(batch, self._cutmix)
        return mixup(batch, self._mixup)


def mixup(batch: Batch, alpha: float) -> Batch:
    """Convex combinations of pairs, one share per batch. Zhang et al. 2018, mixup."""
    order = torch.randperm(len(batch.x)).to(batch.x.device)
    share = _draw_beta(alpha).to(batch.x.device)
    mixed = share * batch.x + (1 - share) * batch.x[order]
    return replace(batch, x=mixed, other_y=batch.y[order], share=share)


def cutmix(batch: Batch, alpha: float) -> Batch:
    """Copy a box into each image ``(B, C, H, W)`` from another one. Yun et al. 2019, CutMix.

    The share is the fraction of pixels outside of the box, which is clipped at the borders.
    """
    height, width = batch.x.shape[-2:]
    order = torch.randperm(len(batch.x)).to(batch.x.device)
    side = float((1 - _draw_beta(alpha)).sqrt())
    top, bottom = _draw_interval(height, side)
    left, right = _draw_interval(width, side)
    x = batch.x.clone()
    x[..., top:bottom, left:right] = batch.x[order][..., top:bottom, left:right]
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return replace(batch, x=x, other_y=batch.y[order], share=torch.tensor(share, device=x.device))


def _draw_beta(alpha: float) -> Tensor:
    """A sample of Beta(α, α), 0-dim."""
    return torch.distributions.Beta(alpha, alpha).sample()


def _draw_interval(length: int, share: float) -> tuple[int, int]:
    """A random interval of about ``share`` of a side, clipped at the borders."""
    centre, half = int(torch.randint(length, ())), round(length * share / 2)
    return max(centre - half, 0), min(centre + half, length)
