"""`gapsweep ui` serves what the sweeps logged."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

from service.base.ports import find_free_port
from tests.commands import REPOSITORY, Ran, command, gapsweep
from tests.patience import patience, wait_for


def test_the_ui_shows_the_sweeps_runs(ran: Ran, tmp_path: Path) -> None:
    home, port = ran.home, find_free_port()
    words = command("ui", "--home", str(home), "--port", str(port))
    with (tmp_path / "ui.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=REPOSITORY, stdout=log, stderr=log)
    try:
        uri = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(f"{uri}/health"), 90)
        assert _answers(uri)
        found = urllib.request.urlopen(
            f"{uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name=gapsweep"
        )
        assert json.load(found)["experiment"]["name"] == "gapsweep"
        taken = gapsweep("ui", "--home", str(home), "--port", str(port))
        assert (taken.returncode, "choose another with --port" in taken.stderr) == (2, True)
    finally:
        process.terminate()
        process.wait(patience(30))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
