"""How many bytes a folder has, counted without following links and within a bound."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

MOST_ENTRIES = 200_000
"""Files and folders that one measurement looks at."""


@dataclass(frozen=True)
class FolderSize:
    """The sum of the sizes of regular files; not ``complete`` if there were too many to look at."""

    bytes: int
    complete: bool = True


def measure_folder(path: Path, most: int = MOST_ENTRIES) -> FolderSize:
    """Measure a folder that others may write to; what cannot be read, or is not there, counts 0.

    A file with several names (hard links) counts once.
    """
    total, seen = 0, 0
    counted: set[tuple[int, int]] = set()
    folders = [path] if path.is_dir() and not path.is_symlink() else []
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > most:
                        return FolderSize(total, complete=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        total += _count(entry, counted)
        except OSError:  # deleted meanwhile, or closed to this account
            continue
    return FolderSize(total)


def _count(entry: os.DirEntry[str], counted: set[tuple[int, int]]) -> int:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return 0
    name = (found.st_dev, found.st_ino)
    if not stat.S_ISREG(found.st_mode) or name in counted:
        return 0
    if found.st_nlink > 1:
        counted.add(name)
    return found.st_size
