"""`make demo`'s own command, as it stands in the Makefile, on its sweep with a smaller budget."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import settings
from tests.patience import patience

REPOSITORY = Path(__file__).parents[2]
FEWER = ("budget.trials=14", "confirm={replicates: 5, top_k: 1}")
"""The demo has 40 trials and 12 replicates, of the same training."""


@pytest.mark.ray
def test_the_demo_ends_with_a_report_in_which_the_gap_is_smaller(tmp_path: Path) -> None:
    make = ["make", "--dry-run", "--silent", "--old-file=.venv/ready", "demo"]
    said = subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    program, *words = shlex.split(said.stdout)
    assert program.endswith("/gapsweep")
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", *words, *settings(*FEWER)],
        cwd=REPOSITORY,
        env={**os.environ, "GAPSWEEP_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=patience(500),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Baseline, control and best" in done.stdout
    (path,) = tmp_path.glob("sweeps/*/summary.json")
    summary = json.loads(path.read_text(encoding="utf-8"))
    best, baseline = summary["best"]["metrics"], summary["baseline"]["metrics"]
    assert summary["trials"]["pruned"] > 0
    assert summary["baseline"]["number"] == 0
    assert best["gap/loss"] < baseline["gap/loss"]
    assert best["val/loss"] < baseline["val/loss"]
