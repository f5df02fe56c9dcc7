"""Mixup and CutMix: samples mixed with other samples of their batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo
from trainables.data.batch import Batch
from trainables.data.nests import Nest, map_nest
from trainables.functions import find_device
from trainables.regularisers.base import Need, Regulariser
from trainables.regularisers.input_parts import change_parts

_LEAST = 1e-6
"""The smallest share of a sample that changes another one in float32."""


class Mixing(Regulariser):
    """Mixes every batch by mixup or CutMix, chosen with equal probability if both are on."""

    order = 40

    def __init__(self, config: config.Mixing) -> None:
        self._mixup, self._cutmix = config.mixup, config.cutmix
        self.acts_on = config.mixing_on
        self._mixed = False
        of_images = {Need.IMAGES, Need.ONE_TARGET} if self._cutmix else set()
        self.needs = frozenset({Need.FLOATS, Need.MIXING, *of_images})

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Check that CutMix has one part to take boxes from."""
        if self._cutmix and len(self.acts_on) > 1:
            return f"CutMix acts on one part; `mixing_on` names {', '.join(self.acts_on)}"
        return None

    def on_batch(self, batch: Batch) -> Batch:
        """The mixed batch."""
        both = self._mixup and self._cutmix
        if self._cutmix and (not both or torch.rand(()) < 0.5):
            mixed = cutmix(batch, self._cutmix, self.acts_on)
        else:
            mixed = mixup(batch, self._mixup, self.acts_on)
        assert mixed.share is not None
        self._mixed = self._mixed or _LEAST < float(mixed.share) < 1 - _LEAST
        return mixed

    def acted(self, epoch: int) -> bool:
        """Whether a batch was mixed: with a small α a share is 0 or 1."""
        return self._mixed

    def state_dict(self) -> dict[str, Any]:
        """Whether it has acted."""
        return {"mixed": self._mixed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        self._mixed = bool(state["mixed"])


def mixup(batch: Batch, alpha: float, on: Sequence[str] = ()) -> Batch:
    """Convex combinations of pairs, one share per batch. Zhang et al. 2018, mixup.

    Of nested inputs the parts ``on`` are mixed.
    """
    order, share = _draw_order(batch), _draw_beta(alpha).to(find_device(batch.x))

    def mix(_part: str, x: Tensor) -> Tensor:
        return share * x + (1 - share) * x[order]

    return _pair(batch, change_parts(batch.x, on, mix), order, share)


def cutmix(batch: Batch, alpha: float, on: Sequence[str] = ()) -> Batch:
    """Copy a box into each image ``(B, C, H, W)`` from another one. Yun et al. 2019, CutMix.

    The share is the fraction of pixels outside of the box, which is clipped at the borders. Of
    nested inputs, the images are the part ``on``.
    """
    order = _draw_order(batch)
    side = float((1 - _draw_beta(alpha)).sqrt())
    shares = []

    def swap(_part: str, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        top, bottom = _draw_interval(height, side)
        left, right = _draw_interval(width, side)
        shares.append(1 - (bottom - top) * (right - left) / (height * width))
        x = images.clone()
        x[..., top:bottom, left:right] = images[order][..., top:bottom, left:right]
        return x

    x = change_parts(batch.x, on, swap)
    return _pair(batch, x, order, torch.tensor(shares[0], device=order.device))


def _draw_order(batch: Batch) -> Tensor:
    return torch.randperm(len(batch)).to(find_device(batch.x))


def _pair(batch: Batch, x: Nest, order: Tensor, share: Tensor) -> Batch:
    """The batch with the targets of the samples mixed in."""
    return replace(batch, x=x, other_y=map_nest(lambda y: y[order], batch.y), share=share)


def _draw_beta(alpha: float) -> Tensor:
    """A sample of Beta(α, α), 0-dim."""
    return torch.distributions.Beta(alpha, alpha).sample()


def _draw_interval(length: int, share: float) -> tuple[int, int]:
    """A random interval of about ``share`` of a side, clipped at the borders."""
    centre, half = int(torch.randint(length, ())), round(length * share / 2)
    return max(centre - half, 0), min(centre + half, length)
