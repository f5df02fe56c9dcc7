"""Published policies of several operations on images, of kornia.

They choose their operations once per batch, and draw from torch's global generator.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.config.data_info import DataInfo
from trainables.errors import ContractError
from trainables.regularisers.input_changes import Augment


def build_randaugment(strength: float, info: DataInfo) -> Augment:
    """RandAugment, two operations of one magnitude. Cubuk et al. 2020."""
    from kornia.augmentation.auto import RandAugment

    return _as_rgb(RandAugment(n=2, m=min(max(round(30 * strength), 1), 29)), info)


def build_trivial(strength: float, info: DataInfo) -> Augment:
    """TrivialAugment, one operation; the strength scales its range. Müller & Hutter 2021."""
    from kornia.augmentation.auto import TrivialAugment

    around_one, sideways = (1 - 0.9 * strength, 1 + 0.9 * strength), 0.3 * strength
    policy: list[list[tuple[str, float, float | None]]] = [
        [("auto_contrast", 0, 1)],
        [("equalize", 0, 1)],
        [("rotate", -30 * strength, 30 * strength)],
        [("solarize", 1 - strength, 1.0)],
        [("contrast", *around_one)],
        [("brightness", *around_one)],
        [("sharpness", *around_one)],
        [("shear_x", -sideways, sideways)],
        [("shear_y", -sideways, sideways)],
        [("translate_x", -sideways, sideways)],
        [("translate_y", -sideways, sideways)],
    ]
    return _as_rgb(TrivialAugment(policy), info)


def build_autoaugment(strength: float, info: DataInfo) -> Augment:
    """AutoAugment's ImageNet policies, on a fraction ``strength`` of samples. Cubuk et al. 2019."""
    from kornia.augmentation.auto import AutoAugment

    policy = _as_rgb(AutoAugment("imagenet"), info)

    def augment(x: Tensor) -> Tensor:
        chosen = torch.rand(len(x), device=x.device) < strength
        return torch.where(chosen.view(-1, 1, 1, 1), policy(x), x)

    return augment


def _as_rgb(policy: nn.Module, info: DataInfo) -> Augment:
    """Apply a policy for RGB images; a grey image is expanded to three equal channels."""
    channels = info.input_shape[0]
    if channels not in (1, 3):
        raise ContractError(
            f"the augmentation policies need images with 1 or 3 channels, not {channels}"
        )

    @torch.no_grad()
    def augment(x: Tensor) -> Tensor:
        augmented: Tensor = policy(x.expand(-1, 3, -1, -1).clamp(0, 1))
        return augmented.mean(1, keepdim=True) if channels == 1 else augmented

    return augment
