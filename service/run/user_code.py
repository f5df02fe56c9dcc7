"""Where the user's own modules are imported from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.spec.model import SweepSpec


def import_from(*folders: Path | str) -> list[str]:
    """Let the user's own modules be found in these folders; the folders, each once."""
    paths = list(dict.fromkeys(str(f) for f in folders))
    sys.path[:0] = [p for p in paths if p not in sys.path]
    return paths


def own_code(spec: SweepSpec, paths: list[str]) -> list[Path]:
    """The folders that workers import the user's own modules from."""
    names = [name for module in spec.modules() for name in (module, f"{module}.py")]
    return [Path(p) for p in paths if any((Path(p) / name).exists() for name in names)]
