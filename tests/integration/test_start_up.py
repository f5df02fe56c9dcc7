"""What happens between the command and the first epoch, and in which order, on a real Ray."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from service.base.errors import Problem, SpecError
from service.run import preflight
from tests.commands import DIGITS, command, gapsweep
from tests.patience import patience, wait_for
from tests.rays import pids, read

UNUSED = {"kornia", "matplotlib", "mlflow", "optuna", "scipy", "sklearn", "sqlalchemy"}
"""What a process that trains a network on arrays has no use for."""
PROBE = f"""
import json, os, sys
import torch
from torch import nn

def network(input_shape, outputs):
    loaded = sorted({UNUSED!r} & sys.modules.keys())
    with open("FOLDER/" + str(os.getpid()), "w") as file:
        json.dump(loaded, file)
    return nn.Linear(input_shape[0], outputs)

def splits():
    x, y = torch.eye(8), torch.tensor([0, 1] * 4)
    return {{"train": (x, y), "val": (2 * x, y)}}
"""


def _find_processes(mark: str) -> list[int]:
    """The processes of a Ray that was started with this mark in its environment."""
    return [pid for pid in pids() if mark.encode() in read(pid, "environ") and pid != os.getpid()]


def _find_workers(mark: str) -> list[int]:
    titles = (b"ray::", b"default_worker.py\0")
    found = [pid for pid in _find_processes(mark) if any(t in read(pid, "cmdline") for t in titles)]
    agents = (b"Agent", b"agent")
    return [pid for pid in found if not any(name in read(pid, "cmdline") for name in agents)]


def _find_idle(mark: str) -> list[int]:
    """Those that have registered: Ray gives them away."""
    return [pid for pid in _find_workers(mark) if b"ray::IDLE" in read(pid, "cmdline")]


def _find_parent(pid: int) -> int:
    return int(read(pid, "stat").rpartition(b")")[2].split()[1])


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """It is in the environment of every process that is started."""
    found = secrets.token_hex(8)
    monkeypatch.setenv("GAPSWEEP_TEST_MARK", found)
    return found


def test_ray_starts_during_the_examination_and_ends_with_a_spec_that_fails_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    started: list[int] = []

    def fail(*_: Any, **__: Any) -> None:
        wait_for(ray.is_initialized, 60)
        wait_for(lambda: bool(_find_workers(mark)), 60)
        started.extend(_find_processes(mark))
        raise SpecError("the spec", [Problem("data", "is not what was expected")])

    monkeypatch.setattr(preflight, "run_preflight", fail)
    done = gapsweep("run", str(DIGITS), "--home", str(tmp_path / "home"))
    assert done.returncode == 2
    assert "data: is not what was expected" in done.stderr
    assert "Traceback" not in done.stderr
    assert started
    assert not ray.is_initialized()
    wait_for(lambda: not _find_processes(mark), 10)
    assert not list(tmp_path.glob("home/sweeps/*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_examination_leaves_no_process(
    tmp_path: Path, mark: str, number: signal.Signals
) -> None:
    data = "import time\n\ndef splits():\n    open('FILE', 'w')\n    time.sleep(600)\n"
    (tmp_path / "slow.py").write_text(data.replace("FILE", str(tmp_path / "asked")))
    spec = "{name: slow, trainable: 'trainables.models:MLP', data: 'slow:splits', space: {lr: 1}}"
    text = spec.replace("{lr: 1}", "{lr: {float: [0.1, 1]}}")
    (tmp_path / "spec.yaml").write_text(text)
    process = subprocess.Popen(
        command("run", str(tmp_path / "spec.yaml"), "--home", str(tmp_path / "home")),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        wait_for(lambda: (tmp_path / "asked").exists() and _find_workers(mark), 60)
        process.send_signal(number)
        _, errors = process.communicate(timeout=patience(60))
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "received" not in errors
    wait_for(lambda: not _find_processes(mark), 10)


def test_a_process_that_was_started_early_trains_and_has_only_what_it_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    (tmp_path / "found").mkdir()
    (tmp_path / "probe.py").write_text(PROBE.replace("FOLDER", str(tmp_path / "found")))
    spec = {
        "name": "probe",
        "trainable": "probe:network",
        "data": "probe:splits",
        "training": {"max_epochs": 2},
        "early_stopping": None,
        "space": {"lr": {"float": [1e-4, 1e-1], "log": True}},
        "budget": {"trials": 2},
        "confirm": "off",
        "resources": {"concurrent": 2},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    examine, early, parents = preflight.run_preflight, list[int](), list[bytes]()

    def wait(*arguments: Any, **options: Any) -> preflight.Preflight:
        found = examine(*arguments, **options)
        wait_for(lambda: _find_idle(mark), 60)
        early.extend(_find_processes(mark))
        parents.extend(read(_find_parent(pid), "cmdline") for pid in _find_idle(mark))
        return found

    monkeypatch.setattr(preflight, "run_preflight", wait)
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    done = gapsweep("run", str(tmp_path / "spec.yaml"), "--home", str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    trained = {int(file.name): json.loads(file.read_text()) for file in tmp_path.glob("found/*")}
    here = trained.pop(os.getpid(), None)
    assert here is not None, "the examination builds the network too"
    assert trained
    assert set(trained) & set(early), "every trial waited for a process that was started for it"
    assert all(b"service.cluster.fork_server" in words for words in parents), parents
    assert all(loaded == [] for loaded in trained.values()), trained
