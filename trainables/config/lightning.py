"""Recognises classes of PyTorch Lightning, which has two packages. Imports none of them."""

from __future__ import annotations

PACKAGES = ("lightning", "pytorch_lightning")
INSTALL = "pip install 'gapsweep[lightning]'"


def derives_from(cls: type, name: str) -> bool:
    """Whether a class is, or derives from, the class ``name`` of one of the packages."""
    return any(base.__name__ == name and is_of_lightning(base.__module__) for base in cls.__mro__)


def is_of_lightning(module: str) -> bool:
    """Whether a module is one of Lightning's."""
    return module.partition(".")[0] in PACKAGES
