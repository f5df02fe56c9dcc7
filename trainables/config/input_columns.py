"""Which columns of a table a trained network reads, as a record that does not import torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KeptColumns:
    """The columns of a table by the user's ``names``, and which of them are ``kept``.

    ``reason`` says why it is not known; ``kept`` is empty then.
    """

    names: tuple[str, ...]
    kept: tuple[bool, ...] = ()
    reason: str = ""
