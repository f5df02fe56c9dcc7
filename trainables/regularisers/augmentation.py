"""Augmentation of training batches, with a strength from 0 (no change) to 1.

All random numbers come from torch's global generator, which the loop seeds every epoch. The
policies (``randaugment``, ``trivial``, ``autoaugment``) choose their operations once per batch,
all other augmentations draw for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor, nn

from search_spaces.words import not_one_of
from trainables.config import regularisers as config
from trainables.config.augmentations import CustomAugmentation, augmentations, list_augmentations
from trainables.config.data_info import DataInfo, Kind
from trainables.data.batch import Batch
from trainables.errors import ContractError
from trainables.regularisers.base import Need, Regulariser, Subject
from trainables.regularisers.parts import change_parts, describe_part

Augment = Callable[[Tensor], Tensor]
_Make = Callable[[float, DataInfo], Augment]


class Augmentation(Regulariser):
    """Augments the inputs of every batch."""

    order = 10

    def __init__(self, config: config.Augmentation) -> None:
        self._name, self._strength = config.augmentation, config.augmentation_strength
        self.acts_on = config.augmentation_on
        self.needs = _find_needs(self._name)
        self._augment: dict[str, Augment] = {}

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Check that the augmentation supports the kind of input; build a user-defined one."""
        try:
            build_augmentation(self._name, self._strength, info)
        except ContractError as error:
            if ":" in self._name:
                raise
            return str(error)
        return None

    def attach(self, subject: Subject) -> None:
        """Build the augmentation for the kind and shape of the inputs.

        Raises:
            ContractError: a user-defined augmentation cannot be imported.
        """
        super().attach(subject)
        for part in self.acts_on or ("",):
            info = describe_part(subject.info, part)
            self._augment[part] = build_augmentation(self._name, self._strength, info)

    def on_batch(self, batch: Batch) -> Batch:
        """The augmented batch."""
        return replace(
            batch, x=change_parts(batch.x, self.acts_on, lambda n, x: self._augment[n](x))
        )


def _find_needs(name: str) -> frozenset[Need]:
    """Those of a built-in augmentation; what a user's own one needs is not known."""
    if ":" in name:
        return frozenset()
    moves = Kind.TABLE not in augmentations.parse(name).kinds
    if moves:
        return frozenset({Need.IMAGES, Need.ONE_TARGET})
    return frozenset({Need.FLOATS})


def _explain_kind(name: str, info: DataInfo) -> str | None:
    """Why a built-in augmentation is not for such inputs; None if it is."""
    valid = list_augmentations(info.kind)
    if name in valid:
        return None
    if info.kind is Kind.OTHER:
        return (
            f"{name!r} is not for inputs of shape {info.input_shape}: built-in ones are for images "
            "of floats, (channels, height, width), and for rows of tables, (features,); valid: "
            "none, or one of your own, module:Name"
        )
    return f"{not_one_of(name, valid)} (for {info.kind} inputs)"


def build_augmentation(name: str, strength: float, info: DataInfo) -> Augment:
    """A function that augments a batch of inputs ``(B, *info.input_shape)``.

    A user-defined class or function takes ``strength``, and ``info`` if it has such an argument,
    and returns a function of such a batch.

    Raises:
        ContractError: this kind of input has no such augmentation.
    """
    kind = augmentations.parse(name)
    if isinstance(kind, CustomAugmentation):
        made: Augment = kind.create(strength=strength, info=info)
        return made
    text = _explain_kind(name, info)
    if text is not None:
        raise ContractError(text, "augmentation")
    return _MAKERS[info.kind][name](strength, info)


def _shift(strength: float, _info: DataInfo) -> Augment:
    """Translation by up to a quarter of each side."""
    import kornia.augmentation as kornia

    return _wrap_module(
        kornia.RandomAffine(0.0, translate=(0.25 * strength, 0.25 * strength), p=1.0)
    )


def _crop_flip(strength: float, info: DataInfo) -> Augment:
    """A random crop of the image padded by up to a quarter, flipped with probability 0.5."""
    import kornia.augmentation as kornia

    _, height, width = info.input_shape
    padding = (math.ceil(0.25 * strength * height), math.ceil(0.25 * strength * width))
    return _wrap_module(
        nn.Sequential(
            kornia.RandomCrop((height, width), padding=padding), kornia.RandomHorizontalFlip(p=0.5)
        )
    )


def _affine(strength: float, _info: DataInfo) -> Augment:
    """Rotation up to 30°, translation up to 15 %, scaling up to 25 % and shear up to 15°."""
    import kornia.augmentation as kornia

    return _wrap_module(
        kornia.RandomAffine(
            degrees=30.0 * strength,
            translate=(0.15 * strength, 0.15 * strength),
            scale=(1 - 0.25 * strength, 1 + 0.25 * strength),
            shear=15.0 * strength,
            p=1.0,
        )
    )


def _image_noise(strength: float, _info: DataInfo) -> Augment:
    """Gaussian noise with a standard deviation of up to 0.3, for pixels in [0, 1]."""
    import kornia.augmentation as kornia

    return _wrap_module(kornia.RandomGaussianNoise(std=0.3 * strength, p=1.0))


def _randaugment(strength: float, info: DataInfo) -> Augment:
    """RandAugment, two operations of one magnitude. Cubuk et al. 2020."""
    from kornia.augmentation.auto import RandAugment

    return _as_rgb(RandAugment(n=2, m=min(max(round(30 * strength), 1), 29)), info)


def _trivial(strength: float, info: DataInfo) -> Augment:
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


def _autoaugment(strength: float, info: DataInfo) -> Augment:
    """AutoAugment's ImageNet policies, on a fraction ``strength`` of samples. Cubuk et al. 2019."""
    from kornia.augmentation.auto import AutoAugment

    policy = _as_rgb(AutoAugment("imagenet"), info)

    def augment(x: Tensor) -> Tensor:
        chosen = torch.rand(len(x), device=x.device) < strength
        return torch.where(chosen.view(-1, 1, 1, 1), policy(x), x)

    return augment


def _table_noise(strength: float, _info: DataInfo) -> Augment:
    """Gaussian noise with a standard deviation of up to half that of a feature."""

    def augment(x: Tensor) -> Tensor:
        return x + 0.5 * strength * torch.randn_like(x)

    return augment


def _mask(strength: float, _info: DataInfo) -> Augment:
    """Set up to half of the features to 0, the mean of a standardised feature."""

    def augment(x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) >= 0.5 * strength)

    return augment


_MAKERS: Mapping[Kind, Mapping[str, _Make]] = MappingProxyType(
    {
        Kind.IMAGE: {
            "shift": _shift,
            "crop_flip": _crop_flip,
            "affine": _affine,
            "noise": _image_noise,
            "randaugment": _randaugment,
            "trivial": _trivial,
            "autoaugment": _autoaugment,
        },
        Kind.TABLE: {"noise": _table_noise, "mask": _mask},
    }
)


def _wrap_module(module: nn.Module) -> Augment:
    @torch.no_grad()
    def augment(x: Tensor) -> Tensor:
        augmented: Tensor = module(x)
        return augmented

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
