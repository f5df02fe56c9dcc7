"""The files of the user's code by the names of their modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainables.config.code_files import CodeFile, Origin


def map_code(files: Sequence[CodeFile]) -> Mapping[str, Path]:
    """Those modules that are the user's own and have a file."""
    own = (f for f in files if f.origin is Origin.USER and f.file)
    return {f.module: Path(f.file) for f in own}
