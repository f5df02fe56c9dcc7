"""Where tests write: in memory where there is room, so that no commit waits for a disk.

Tests kill processes, no machine: nothing has to outlive the power.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 6 * 2**30
"""Bytes that must be free: several times what all tests write."""


def write_in_memory() -> None:
    """Have this process, and those that it starts, make their temporary folders in memory.

    ``TMPDIR``, where it is set, is obeyed.
    """
    if "TMPDIR" not in os.environ and _has_room():
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None  # it is found anew


def _has_room() -> bool:
    """Whether files can be written there, and programs in them run."""
    try:
        found, memory = os.statvfs(_MEMORY), Path("/proc/meminfo").read_text()
    except OSError:
        return False
    (available,) = [line for line in memory.splitlines() if line.startswith("MemAvailable:")]
    room = min(found.f_bavail * found.f_frsize, 1024 * int(available.split()[1]))
    return room >= _ROOM and not found.f_flag & os.ST_NOEXEC and os.access(_MEMORY, os.W_OK)
