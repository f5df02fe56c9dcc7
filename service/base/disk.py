"""A full disk: how it is recognised, in whatever error it arrives, and how room is checked."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.base.errors import DiskFullError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROBE = 256 * 2**10
"""Bytes: as much as the largest spec."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or the one that led to it, says that a disk or a quota is full."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, DiskFullError) or getattr(error, "errno", None) in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def check_room(folder: Path) -> None:
    """Check that a file of some size can be written into a folder.

    Raises:
        DiskFullError: the disk, or the account's share of it, is full.
        OSError: the folder cannot be written for another reason.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            left = _PROBE
            while left > 0:
                left -= file.write(bytes(left))
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(f"the disk of {folder} is full ({error.strerror})") from error
        raise


@contextmanager
def explain_full_disk(folder: Path, kept: str) -> Iterator[None]:
    """Say of what a block raises because of a full disk which disk it is, and what is ``kept``.

    Raises:
        DiskFullError: the block failed because a disk is full.
    """
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise DiskFullError(f"the disk of {folder} is full: {kept}") from error
        raise
