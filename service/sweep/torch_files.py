"""Writes tensors to files, and says so when the disk is full."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.base.disk import check_room
from service.base.files import replace_file


def save_tensors(state: Mapping[str, Any], path: Path) -> None:
    """Replace a file of torch's, by way of a temporary one beside it.

    Raises:
        DiskFullError: the disk is full.
        OSError: the file cannot be written.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path, path.with_suffix(".tmp")) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError:  # torch's own writer does not say why it failed
            check_room(path.parent)
            raise
