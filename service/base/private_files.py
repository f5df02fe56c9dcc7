"""Keeps the files of a service to its account."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_GROUP_WRITES = 0o020


def keep_private(folder: Path) -> None:
    """Let this process and its children write files for its account only, and close ``folder``.

    The folder's own files (databases, logs) lose their rights for others too. A folder that its
    group may write is shared by that group on purpose: new files are then the group's as well.
    """
    shared = bool(folder.stat().st_mode & _GROUP_WRITES)
    os.umask(0o007 if shared else 0o077)
    rights = 0o770 if shared else 0o700
    for path in (folder, *folder.iterdir()):
        found = path.lstat()
        is_plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
        if is_plain and found.st_uid == os.getuid():
            path.chmod(stat.S_IMODE(found.st_mode) & (rights | 0o7000))
