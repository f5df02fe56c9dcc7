"""A sweep whose trials share their steps goes on after its process was killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from service.spec.file import dump_spec
from service.study.slot_flow import Widths
from service.sweep.home import Home
from tests.commands import REPOSITORY
from tests.contract.same_sweeps import CHANGES, check_same
from tests.contract.sweeps import Executor

pytestmark = pytest.mark.usefixtures("without_plots")
KILLED = """
import os
import signal
import sys
from pathlib import Path

import gapsweep
from service.cluster import checkpoint

checkpoint.PERIOD = checkpoint.SHARE = 0
seen = []


def count(event):
    seen.append(event)
    if len(seen) == 40:
        os.kill(os.getpid(), signal.SIGKILL)


gapsweep.run(Path(sys.argv[1]), home=sys.argv[2], progress=False, on_event=count)
"""


def test_a_sweep_that_was_killed_goes_on_with_another_width_as_if_it_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL ends the driver, which is the process of all its trials."""
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    local = Executor("local", tmp_path)
    spec = local.spec(**{**CHANGES, "confirm": "off", "resources": {"fuse": 4}})
    script, file, home = tmp_path / "script.py", tmp_path / "spec.yaml", tmp_path / "1"
    script.write_text(KILLED)
    file.write_text(dump_spec(spec))
    words = [sys.executable, str(script), str(file), str(home)]
    ended = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    shutil.copytree(home, tmp_path / "3")
    whole = local.new(tmp_path / "whole", spec)
    expected = whole, local.run(spec, whole).sweep
    for width in (1, 3):
        folder = Home(tmp_path / str(width)).find("latest")
        sweep = local.run(spec, folder, widths=Widths(width, width), accept_changes=True).sweep
        check_same((folder, sweep), expected)
        lines = map(json.loads, folder.history.read_text().splitlines())
        recorded = Counter((line["trial"], line["epoch"]) for line in lines)
        assert sum(recorded.values()) <= len(recorded) + 1  # one was being written
