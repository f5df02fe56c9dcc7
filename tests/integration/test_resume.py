"""A sweep that is killed goes on: nothing lost, nothing counted twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from service.cluster import checkpoint
from tests.commands import DIGITS, REPOSITORY, gapsweep, settings
from tests.forks import forked_command
from tests.patience import patience, wait_for
from tests.rays import Ray

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("without_plots")]
TRIALS, EPOCHS, KILLED_AT = 4, 20, 24
OFF = {"GAPSWEEP_MLFLOW_URI": "off"}
CHANGES = (
    f"training.max_epochs={EPOCHS}",
    f"budget.trials={TRIALS}",
    "search.pruner=none",
    "early_stopping=off",
    "confirm=off",
)
ONE_STEP_AN_EPOCH = ("training.batch_size=2000", "model.hidden=[16]")


def _start(home: Path, *changes: str) -> subprocess.Popen[bytes]:
    words = forked_command("run", str(DIGITS), "--home", str(home), *settings(*CHANGES, *changes))
    return subprocess.Popen(
        words,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **OFF},
    )


def _wait_for_epochs(home: Path) -> Path:
    def enough() -> bool:
        histories = home.glob("sweeps/*/history.jsonl")
        return any(len(h.read_text(encoding="utf-8").splitlines()) >= KILLED_AT for h in histories)

    wait_for(enough, 120)
    (history,) = home.glob("sweeps/*/history.jsonl")
    return history.parent


def _check(home: Path, folder: Path, ray: Ray) -> None:
    words = ("resume", folder.name, "--home", str(home), "--json", *ray.options)
    resumed = gapsweep(*words, env={**ray.env, **OFF})
    assert resumed.returncode == 0, resumed.stderr
    summary = json.loads(resumed.stdout)
    assert summary["trials"] == {
        "complete": TRIALS,
        "pruned": 0,
        "failed": 0,
        "running": 0,
        "paused": 0,
    }
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [(e["trial"], e["epoch"]) for e in map(json.loads, lines)]
    assert sorted(epochs) == [(t, e) for t in range(TRIALS) for e in range(1, EPOCHS + 1)]


def test_after_kill_9_it_is_resumed_from_the_last_epochs(
    tmp_path: Path, shared_ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch is one step here. Those that were not reported yet are trained again."""
    for name in ("PERIOD", "SHARE"):  # the import of the trainable changes them
        monkeypatch.setattr(checkpoint, name, getattr(checkpoint, name))
    steps = tmp_path / "steps"
    process = _start(
        tmp_path, "trainable=tests.kept_epochs:Counted", f"model.steps={steps}", *ONE_STEP_AN_EPOCH
    )
    folder = _wait_for_epochs(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _check(tmp_path, folder, shared_ray)
    assert TRIALS * EPOCHS <= len(steps.read_text()) < TRIALS * EPOCHS + KILLED_AT // 2


def test_ctrl_c_ends_it_cleanly_and_it_is_resumed(tmp_path: Path, shared_ray: Ray) -> None:
    process = _start(tmp_path)
    folder = _wait_for_epochs(tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.wait(patience(60)) == 130
    assert json.loads((folder / "summary.json").read_text())["state"] == "interrupted"
    _check(tmp_path, folder, shared_ray)


def test_sigterm_ends_it_cleanly_while_ray_starts_too(tmp_path: Path) -> None:
    process = _start(tmp_path)
    wait_for(lambda: bool(list(tmp_path.glob("sweeps/*/ray.log"))), 60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(patience(60)) == 130
    (folder,) = tmp_path.glob("sweeps/*")
    assert json.loads((folder / "summary.json").read_text())["state"] == "interrupted"
