"""The command as a user types it, and what a sweep that it ran left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
DIGITS = REPOSITORY / "search_spaces" / "sweeps" / "digits.yaml"
SMALL = (
    "training.max_epochs=8",
    "budget.trials=10",
    "search.pruner={name: median, startup_trials: 3, warmup_epochs: 1}",
)


def gapsweep(
    *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
    )


def command(*arguments: str) -> list[str]:
    """The command's words."""
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
