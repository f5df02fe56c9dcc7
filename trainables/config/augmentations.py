"""The augmentations that a space's ``augmentation`` can name, by the kind of input."""

from __future__ import annotations

from typing import ClassVar, Literal

from trainables.config.data_info import Kind
from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry


class AugmentationKind(Component):
    """An augmentation by name, and the kinds of input that it is for."""

    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)


class CustomAugmentation(AugmentationKind, Custom):
    """A class or function of the user's that makes a function of a batch of inputs."""

    name: ImportPath


augmentations: Registry[AugmentationKind] = Registry(
    "augmentation", CustomAugmentation, group="augmentations"
)


def names_for(kind: Kind) -> tuple[str, ...]:
    """The built-in augmentations for a kind of input, ``none`` first."""
    return ("none", *(n for n, a in augmentations.built_in().items() if kind in a.kinds))


@augmentations.register
class ImageAugmentation(AugmentationKind):
    """For images alone."""

    kinds = frozenset({Kind.IMAGE})

    name: Literal["shift", "crop_flip", "affine"]


@augmentations.register
class Noise(AugmentationKind):
    """Gaussian noise, for images and tables."""

    name: Literal["noise"]


@augmentations.register
class ImagePolicy(AugmentationKind):
    """Published policies of several operations, for images alone."""

    kinds = frozenset({Kind.IMAGE})

    name: Literal["randaugment", "trivial", "autoaugment"]


@augmentations.register
class Mask(AugmentationKind):
    """Features set to 0, for tables alone."""

    kinds = frozenset({Kind.TABLE})

    name: Literal["mask"]
