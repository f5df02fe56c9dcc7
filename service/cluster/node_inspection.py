"""What a node of a cluster is, found by a task on it.

Imports neither Ray nor torch: a new process that runs the task needs a second less.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service.base.versions import get_installed_version
from trainables.machine import Machine, build_machine, inspect_in_subprocess


def inspect_this_node(marks: Sequence[Path], gpus: bool) -> tuple[str, Machine, list[Path]]:
    """Return this node's version of gapsweep, its hardware, and the marks that it does not see.

    Ray hides GPUs from this process, so a subprocess lists them.
    """
    missing = [mark for mark in marks if not mark.exists()]
    return get_installed_version(), inspect_in_subprocess() if gpus else build_machine(()), missing
