"""What a training step is fed, and the regularisers that change it: noise, erasing, mixing.

Everything draws from torch's global generators, which the loop seeds every epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainables.config.data_info import DataInfo
from trainables.config.training import Regularisation
from trainables.regularisers.augmentation import Augment, augmentation, random_erasing


@dataclass(frozen=True)
class Batch:
    """Inputs ``(B, …)`` and targets ``(B, …)``.

    Where samples are mixed, ``y`` holds for ``share`` of each and ``other_y`` for the rest; the
    share is 0-dim. ``smoothing`` is the weight of the uniform distribution over the classes.
    """

    x: Tensor
    y: Tensor
    other_y: Tensor | None = None
    share: Tensor | None = None
    smoothing: float = 0.0


class Pipeline:
    """Makes a regularised batch out of a plain one.

    Raises:
        ContractError: there is no such augmentation for the inputs.
    """

    def __init__(self, regularisation: Regularisation, info: DataInfo) -> None:
        r = regularisation
        self._augments: list[Augment] = []
        policy = augmentation(r.augmentation, r.augmentation_strength, info)
        if policy is not None:
            self._augments.append(policy)
        if r.random_erasing:
            self._augments.append(random_erasing(r.random_erasing))
        self._noise, self._mixup, self._cutmix = r.input_noise, r.mixup, r.cutmix
        self._smoothing = r.label_smoothing

    def __call__(self, x: Tensor, y: Tensor) -> Batch:
        """The batch to train on, made on the inputs' device."""
        for augment in self._augments:
            x = augment(x)
        if self._noise:
            x = x + self._noise * torch.randn_like(x)
        batch = Batch(x, y, smoothing=self._smoothing)
        both = self._mixup and self._cutmix
        if self._cutmix and (not both or torch.rand(()) < 0.5):
            return cutmix(batch, self._cutmix)
        return mixup(batch, self._mixup) if self._mixup else batch


def mixup(batch: Batch, alpha: float) -> Batch:
    """Convex combinations of pairs, one share a batch. Zhang et al. 2018, mixup."""
    order = torch.randperm(len(batch.x)).to(batch.x.device)
    share = _beta(alpha).to(batch.x.device)
    mixed = share * batch.x + (1 - share) * batch.x[order]
    return replace(batch, x=mixed, other_y=batch.y[order], share=share)


def cutmix(batch: Batch, alpha: float) -> Batch:
    """One box of each image ``(B, C, H, W)`` from its partner. Yun et al. 2019, CutMix.

    The share is of the pixels that stayed, after the box was cut off at the borders.
    """
    height, width = batch.x.shape[-2:]
    order = torch.randperm(len(batch.x)).to(batch.x.device)
    side = float((1 - _beta(alpha)).sqrt())
    top, bottom = _interval(height, side)
    left, right = _interval(width, side)
    x = batch.x.clone()
    x[..., top:bottom, left:right] = batch.x[order][..., top:bottom, left:right]
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return replace(batch, x=x, other_y=batch.y[order], share=torch.tensor(share, device=x.device))


def _beta(alpha: float) -> Tensor:
    """A draw of Beta(α, α), 0-dim."""
    return torch.distributions.Beta(alpha, alpha).sample()


def _interval(length: int, share: float) -> tuple[int, int]:
    """A random interval of about ``share`` of a side, cut off at the borders."""
    centre, half = int(torch.randint(length, ())), round(length * share / 2)
    return max(centre - half, 0), min(centre + half, length)
