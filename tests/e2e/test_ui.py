"""`gapsweep ui` serves what the sweeps logged."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.commands import REPOSITORY, Ran, command, gapsweep
from tests.integration.test_tracking_server import free_port


@pytest.mark.slow
def test_the_ui_shows_the_sweeps_runs(ran: Ran, tmp_path: Path) -> None:
    home, port = ran.home, free_port()
    words = command("ui", "--home", str(home), "--port", str(port))
    with (tmp_path / "ui.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=REPOSITORY, stdout=log, stderr=log)
    try:
        uri = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 90
        while not _answers(f"{uri}/health"):
            assert time.monotonic() < deadline, (tmp_path / "ui.log").read_text()
            time.sleep(0.3)
        assert _answers(uri)
        found = urllib.request.urlopen(
            f"{uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name=gapsweep"
        )
        assert json.load(found)["experiment"]["name"] == "gapsweep"
        taken = gapsweep("ui", "--home", str(home), "--port", str(port))
        assert (taken.returncode, "name another with --port" in taken.stderr) == (2, True)
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
