"""Augmentation of training batches, with a strength from 0 (no change) to 1.

All random numbers come from torch's global generator, which the loop seeds every epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from search_spaces.unknown_names import not_one_of
from trainables.config import regularisers as config
from trainables.config.augmentations import CustomAugmentation, augmentations, list_augmentations
from trainables.config.data_info import DataInfo, Kind
from trainables.errors import ContractError
from trainables.regularisers.base import Need, Subject
from trainables.regularisers.geometry import Affine, CropFlip, Shift
from trainables.regularisers.input_changes import AtStrength, Augment, InputChange
from trainables.regularisers.input_parts import describe_part
from trainables.regularisers.input_regulariser import InputRegulariser
from trainables.regularisers.pixels import Mask, Noise
from trainables.regularisers.policies import build_autoaugment, build_randaugment, build_trivial


class Augmentation(InputRegulariser):
    """Augments the inputs of every batch."""

    order = 10

    def __init__(self, config: config.Augmentation) -> None:
        self._name, self._strength = config.augmentation, config.augmentation_strength
        self.acts_on = config.augmentation_on
        self.needs = _find_needs(self._name)

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
        described = {part: describe_part(subject.info, part) for part in self.acts_on or ("",)}
        self.changes = {
            part: build_augmentation(self._name, self._strength, info)
            for part, info in described.items()
        }


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
    if name in _POLICIES:
        return _POLICIES[name](strength, info)
    return AtStrength(OWN[info.kind][name], strength)


OWN: Mapping[Kind, Mapping[str, InputChange]] = MappingProxyType(
    {
        Kind.IMAGE: {
            "shift": Shift(),
            "crop_flip": CropFlip(),
            "affine": Affine(),
            "noise": Noise(0.3),  # for pixels in [0, 1]
        },
        Kind.TABLE: {"noise": Noise(0.5), "mask": Mask()},
    }
)
"""Augmentations that are changes of each sample: a lane of a group of trainings has them too."""

_POLICIES: Mapping[str, Callable[[float, DataInfo], Augment]] = MappingProxyType(
    {
        "randaugment": build_randaugment,
        "trivial": build_trivial,
        "autoaugment": build_autoaugment,
    }
)
