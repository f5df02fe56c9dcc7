"""Small sweeps of trials of several workers, whose network fails or dies where it is asked to."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import yaml

from tests.commands import REPOSITORY, Done, gapsweep
from tests.forks import forked_command
from tests.patience import patience
from tests.rays import Ray

NETWORK = """
import os
import time
from pathlib import Path

import torch.distributed as dist
from torch import nn


class Network(nn.Module):
    def __init__(self, input_shape, outputs, way="fine", seconds=0.0, pids=""):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(input_shape[0], 8), nn.ReLU(), nn.Dropout())
        self.last = nn.Linear(8, outputs)
        self.way, self.seconds, self.pids = way, seconds, pids

    def forward(self, x):
        if self.training:
            time.sleep(self.seconds)
            rank = dist.get_rank() if dist.is_initialized() else -1
            if self.pids:
                written = Path(self.pids, f".{rank}")
                written.write_text(str(os.getpid()))
                written.replace(Path(self.pids, str(rank)))  # a reader never finds it empty
            if self.way == "all raise" or (self.way == "one raises" and rank == 1):
                raise RuntimeError(f"worker {rank} had enough")
            if self.way == "one dies" and rank == 1:
                os._exit(7)
        return self.last(self.layers(x))
"""


_NO_MLFLOW = {"GAPSWEEP_MLFLOW_URI": "off"}


@dataclass(frozen=True)
class GroupSweep:
    """A sweep by the home folder that has it alone."""

    home: Path

    @property
    def folder(self) -> Path:
        """The sweep's own."""
        (folder,) = (self.home / "sweeps").iterdir()
        return folder

    def epochs(self) -> list[dict[str, Any]]:
        """The history so far."""
        history = list(self.home.glob("sweeps/*/history.jsonl"))
        text = history[0].read_text(encoding="utf-8") if history else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def summary(self) -> dict[str, Any]:
        """What it found, once it has ended."""
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return found


@dataclass(frozen=True)
class Finished(GroupSweep):
    """A sweep that ran in the tests' process."""

    done: Done


@dataclass(frozen=True)
class Started(GroupSweep):
    """A sweep that runs in a process of its own."""

    process: subprocess.Popen[str]
    lines: list[str]

    def read_until(self, words: str) -> None:
        """Read its output as it comes, to the first line with these words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if words in line:
                return
        raise AssertionError(f"it never printed {words!r}:\n{self.text}")

    def finish(self, seconds: float = 240) -> int:
        """Read its output to the end; its exit code."""
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)
        return self.process.wait(patience(seconds))

    @property
    def text(self) -> str:
        """What was read of its output."""
        return "".join(self.lines)


def run(folder: Path, ray: Ray, **spec: Any) -> Finished:
    """A small sweep of the network above on that Ray, from its start to a good end."""
    path, home = _written(folder, spec), folder / "home"
    return _finished(home, gapsweep("run", *_words(path, home, ray), env=_environment(ray)))


def run_beside(
    act: Callable[[GroupSweep, Event], None], folder: Path, ray: Ray, **spec: Any
) -> Finished:
    """Such a sweep; another thread does something with it, and is told when it has ended."""
    ended = Event()
    with ThreadPoolExecutor(1) as other:
        acted = other.submit(act, GroupSweep(folder / "home"), ended)
        try:
            finished = run(folder, ray, **spec)
        finally:
            ended.set()
        acted.result()
    return finished


def run_here(folder: Path, **spec: Any) -> Finished:
    """Such a sweep of trials of one worker, in this process."""
    resources = {"workers": 1, "executor": "local"}
    path, home = _written(folder, {**spec, "resources": resources}), folder / "home"
    return _finished(home, gapsweep("run", str(path), "--home", str(home), env=_NO_MLFLOW))


def _finished(home: Path, done: Done) -> Finished:
    assert done.returncode == 0, done.stdout + done.stderr
    return Finished(home, done)


def start(folder: Path, ray: Ray, **spec: Any) -> Started:
    """Such a sweep in a process of its own, which may be killed and watched."""
    path, home = _written(folder, spec), folder / "home"
    process = subprocess.Popen(
        forked_command("run", *_words(path, home, ray)),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **_environment(ray)},
    )
    return Started(home, process, [])


def _written(folder: Path, spec: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "shared_network.py").write_text(NETWORK)
    whole: dict[str, Any] = {
        "name": "group",
        "trainable": "shared_network:Network",
        "data": {"name": "breast_cancer"},
        "training": {"max_epochs": 6, "batch_size": 64, "lr": 1e-2},
        "space": {"dropout": {"float": [0.0, 0.7]}},
        "early_stopping": None,
        "search": {"pruner": "none"},
        "budget": {"trials": 1},
        "confirm": "off",
        "resources": {"workers": 2, "concurrent": 1},
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump({**whole, **spec}))
    return path


def _words(spec: Path, home: Path, ray: Ray) -> tuple[str, ...]:
    return (str(spec), "--home", str(home), *ray.options)


def _environment(ray: Ray) -> dict[str, str]:
    return {**ray.env, **_NO_MLFLOW}


def curves(epochs: list[dict[str, Any]]) -> dict[int, list[dict[str, float]]]:
    """Every trial's metrics by epoch; an epoch there twice fails."""
    found: dict[int, dict[int, dict[str, float]]] = {}
    for epoch in epochs:
        trial = found.setdefault(epoch["trial"], {})
        assert epoch["epoch"] not in trial
        trial[epoch["epoch"]] = epoch["metrics"]
    return {n: [by[e] for e in sorted(by)] for n, by in found.items()}
