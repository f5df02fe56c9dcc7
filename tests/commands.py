"""The command line as tests call it, and what a sweep that it ran left behind.

:func:`gapsweep` runs the command in this process, which takes milliseconds instead of the seconds
that a new process needs to import torch. :func:`gapsweep_process` and :func:`command` are for tests
of what only a process has: a signal, its death, its start.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.inside import Captured, as_a_process
from tests.patience import patience

REPOSITORY = Path(__file__).parents[1]
DIGITS = REPOSITORY / "search_spaces" / "sweeps" / "digits.yaml"
SMALL = (
    "training.max_epochs=8",
    "budget.trials=10",
    "confirm=off",
    "search.pruner={name: median, startup_trials: 3, warmup_epochs: 1}",
)
LOCAL = "resources={executor: local}"
"""A setting: a sweep's trials run one after the other in the driver's process, without Ray."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def gapsweep(*arguments: str, env: dict[str, str] | None = None) -> Done:
    """Run the command line in this process, in the repository's root."""
    from service.cli import main

    captured = Captured()
    with as_a_process(REPOSITORY, ["gapsweep", *arguments], env or {}), captured:
        code = _exit_code(main)
    return Done(code, captured.stdout, captured.stderr)


def gapsweep_process(
    *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own, in the repository's root."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=patience(300),
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
    )


def command(*arguments: str) -> list[str]:
    """The command's words, for a process."""
    return [sys.executable, "-m", "service.cli", *arguments]


def settings(*changes: str) -> list[str]:
    """`--set` for each."""
    return [word for change in changes for word in ("--set", change)]


class Ran:
    """A finished sweep."""

    def __init__(self, home: Path, summary: dict[str, Any]) -> None:
        self.home = home
        self.summary = summary
        self.folder = home / "sweeps" / summary["sweep_id"]


def _exit_code(main: Callable[[], None]) -> int:
    """As Python itself gives a process's: 0 after a return, 1 and a traceback after an error."""
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0
