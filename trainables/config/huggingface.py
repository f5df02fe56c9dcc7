"""Recognises what is of transformers' ``Trainer``. Imports nothing of it."""

from __future__ import annotations

INSTALL = "pip install 'gapsweep[huggingface]'"
_PACKAGE = "transformers"


def is_instance_of(value: object, name: str) -> bool:
    """Whether a value is of transformers' class ``name``, or of one derived from it."""
    return derives_from(type(value), name)


def derives_from(cls: type, name: str) -> bool:
    """Whether a class is transformers' class ``name``, or derives from it."""
    return any(
        base.__name__ == name and base.__module__.partition(".")[0] == _PACKAGE
        for base in cls.__mro__
    )


def names_trainer(annotation: object) -> bool:
    """Whether an annotation is a class of trainers, or its name."""
    if isinstance(annotation, type):
        return derives_from(annotation, "Trainer")
    return isinstance(annotation, str) and annotation.strip("'\"").rpartition(".")[2] == "Trainer"
