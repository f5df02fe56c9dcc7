"""What runs beside the API for it, in the same command: readiness tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Part(Protocol):
    """A program that the service needs."""

    @property
    def name(self) -> str:
        """Its name, for people."""

    @property
    def problem(self) -> str | None:
        """Why it cannot be used at the moment; None if it can."""


def find_part_faults(parts: Sequence[Part]) -> list[str]:
    """What is wrong with which part."""
    return [f"{part.name}: {part.problem}" for part in parts if part.problem is not None]
