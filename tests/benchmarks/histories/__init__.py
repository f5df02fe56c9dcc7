"""A library of recorded sweeps, without pruning and without early stopping, and their specs."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def list_specs() -> list[Path]:
    """The specs of all sweeps of the library, by name."""
    return sorted(FOLDER.glob("*.yaml"))


def list_tables() -> list[Path]:
    """The tables of all sweeps of the library, by name."""
    return sorted(FOLDER.glob("*.npz"))
