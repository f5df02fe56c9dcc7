"""Import paths of the user's own modules."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.config.code_files import CodeFile, find_code_files, list_user_folders

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


def fingerprint_code(
    spec: SweepSpec, folders: Sequence[Path | str] | None = None
) -> tuple[CodeFile, ...]:
    """The files, with their digests, of the modules that a spec names and their parents.

    Of the user's own modules also those that these import. Nothing is imported to find them;
    modules that do not exist are left out. ``folders`` are those of the user's code (default:
    what the path has beyond Python and the installed packages).
    """
    modules = {path.partition(":")[0] for path in spec.import_paths()}
    return find_code_files(modules, list_user_folders() if folders is None else folders)
