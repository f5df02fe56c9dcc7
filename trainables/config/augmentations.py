"""The augmentations that ``augmentation`` in a space can name, by kind of input."""

from __future__ import annotations

from typing import ClassVar, Literal

from trainables.config.data_info import Kind
from trainables.config.imports import ImportPath
from trainables.config.registry import Component, Custom, Registry


class AugmentationKind(Component):
    """An augmentation by name: the kinds of input that it supports, and its keys in a space."""

    reads: ClassVar[tuple[str, ...]] = ("augmentation_strength", "augmentation_on")
    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)


class CustomAugmentation(AugmentationKind, Custom):
    """A user-defined class or function that returns a function of a batch of inputs."""

    expected = "collections.abc:Callable"

    name: ImportPath


augmentations: Registry[AugmentationKind] = Registry(
    "augmentation", CustomAugmentation, group="augmentations"
)


def list_augmentations(kind: Kind) -> tuple[str, ...]:
    """The built-in augmentations for a kind of input, ``none`` first."""
    return ("none", *(n for n, a in augmentations.built_in().items() if kind in a.kinds))


@augmentations.register
class ImageAugmentation(AugmentationKind):
    """Geometric augmentation of images."""

    kinds = frozenset({Kind.IMAGE})

    name: Literal["shift", "crop_flip", "affine"]


@augmentations.register
class Noise(AugmentationKind):
    """Gaussian noise on images and tables."""

    kinds = frozenset({Kind.IMAGE, Kind.TABLE})

    name: Literal["noise"]


@augmentations.register
class ImagePolicy(AugmentationKind):
    """Published policies of several operations on images."""

    kinds = frozenset({Kind.IMAGE})

    name: Literal["randaugment", "trivial", "autoaugment"]


@augmentations.register
class Mask(AugmentationKind):
    """Random features of a table set to 0."""

    kinds = frozenset({Kind.TABLE})

    name: Literal["mask"]
