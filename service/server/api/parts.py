"""What runs beside the API for it, in the same command: readiness tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.base.errors import PartUnavailableError


class Part(Protocol):
    """A program that the service needs."""

    @property
    def name(self) -> str:
        """Its name, for people."""

    @property
    def problem(self) -> str | None:
        """Why it cannot be used at the moment; None if it can."""


def check_parts(parts: Sequence[Part]) -> None:
    """Check that all can be used.

    Raises:
        PartUnavailableError: some cannot.
    """
    problems = [f"{part.name}: {part.problem}" for part in parts if part.problem is not None]
    if problems:
        raise PartUnavailableError("; ".join(problems))
