"""Where tests write: in memory where there is room, so that no commit waits for a disk.

Tests kill processes, no machine: nothing has to outlive the power.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 6 * 2**30
"""Bytes that must be free: several times what all tests write."""
_ROOT = "PYTEST_DEBUG_TEMPROOT"
"""The environment variable by which pytest is told where to make its temporary folders."""


def write_in_memory() -> None:
    """Have temporary folders of tests made in memory, unless pytest was told where."""
    if _has_room():
        os.environ.setdefault(_ROOT, str(_MEMORY))


def scratch(prefix: str) -> AbstractContextManager[str]:
    """A folder for a block, where those of tests are."""
    return tempfile.TemporaryDirectory(prefix=prefix, dir=os.environ.get(_ROOT))


def _has_room() -> bool:
    """Whether files can be written there, and programs in them run."""
    try:
        found, memory = os.statvfs(_MEMORY), Path("/proc/meminfo").read_text()
    except OSError:
        return False
    (available,) = [line for line in memory.splitlines() if line.startswith("MemAvailable:")]
    room = min(found.f_bavail * found.f_frsize, 1024 * int(available.split()[1]))
    return room >= _ROOM and not found.f_flag & os.ST_NOEXEC and os.access(_MEMORY, os.W_OK)
