"""Import paths of the user's own modules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.spec.model import SweepSpec


def add_import_paths(*folders: Path | str) -> list[str]:
    """Add folders to ``sys.path``; returns them without duplicates."""
    paths = list(dict.fromkeys(str(f) for f in folders))
    sys.path[:0] = [p for p in paths if p not in sys.path]
    return paths


def find_user_code(spec: SweepSpec, paths: list[str]) -> list[Path]:
    """The folders from which workers import the user's own modules."""
    names = [name for module in spec.modules() for name in (module, f"{module}.py")]
    return [Path(p) for p in paths if any((Path(p) / name).exists() for name in names)]
