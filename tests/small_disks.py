"""A disk of a few MiB that can be filled, as a file system in memory; needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FILLING = "filling"


@contextmanager
def mount_small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """Mount a disk of that size at a new folder."""
    folder.mkdir()
    size = f"size={kib}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Use all that is left."""
    with suppress(OSError), (disk / _FILLING).open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def make_room(disk: Path) -> None:
    """Give back what :func:`fill` used."""
    (disk / _FILLING).unlink()
