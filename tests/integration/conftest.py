"""One small real sweep, through the command as a user types it, for every test that reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
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


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    home = tmp_path_factory.mktemp("home")
    done = gapsweep("run", str(DIGITS), "--json", "--home", str(home), *settings(*SMALL))
    assert done.returncode == 0, done.stderr
    return Ran(home, json.loads(done.stdout))
