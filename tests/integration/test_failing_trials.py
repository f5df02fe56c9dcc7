"""A trial that raises, dies, turns NaN or runs out of memory is a FAIL; the sweep goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.commands import LOCAL, Done, gapsweep, settings
from tests.rays import Ray

pytestmark = pytest.mark.usefixtures("without_plots")

NETWORK = """
import os
import torch
from torch import nn

REHEARSED = 8

class Fragile(nn.Module):
    def __init__(self, input_shape, outputs, way="fine"):
        super().__init__()
        self.layer = nn.Linear(input_shape[0], outputs)
        self.way, self.steps = way, 0

    def forward(self, x):
        self.steps += self.training
        if self.training and self.steps > REHEARSED:
            if self.way == "raises":
                raise RuntimeError("this layer had enough")
            if self.way == "dies":
                os._exit(7)
            if self.way == "memory":
                raise MemoryError("40 GiB wanted")
            if self.way == "nan":
                return self.layer(x) * float("nan")
        return self.layer(x)
"""


def _write(folder: Path, ways: tuple[str, ...], trials: int) -> Path:
    (folder / "fragile.py").write_text(NETWORK)
    spec = {
        "name": "fragile",
        "trainable": "fragile:Fragile",
        "data": {"name": "breast_cancer"},
        "training": {"max_epochs": 3, "batch_size": 16},
        "space": {"model.way": {"choice": list(ways)}},
        "search": {
            "baseline": False,
            "pruner": "none",
            "sampler": "random",
            "enqueue": [{"model.way": way} for way in ways],
        },
        "budget": {"trials": trials},
        "confirm": "off",
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return folder / "spec.yaml"


def _run(spec: Path, *options: str, env: dict[str, str] | None = None) -> Done:
    words = ("run", str(spec), "--json", "--home", str(spec.parent / "home"))
    return gapsweep(*words, *options, env=env)


def _assert_only_the_last_is_complete(done: Done, failed: int) -> None:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads(done.stdout)
    assert summary["trials"] == {
        "complete": 1,
        "pruned": 0,
        "failed": failed,
        "running": 0,
        "paused": 0,
    }
    assert summary["best"]["params"] == {"model.way": "fine"}


def test_the_sweep_goes_on_and_keeps_each_error(tmp_path: Path) -> None:
    """On either executor: the contract of both has the same failures."""
    done = _run(_write(tmp_path, ("raises", "memory", "nan", "fine"), 4), *settings(LOCAL))
    _assert_only_the_last_is_complete(done, failed=3)
    for words in ("this layer had enough", "out of memory: 40 GiB", "is nan"):
        assert words in done.stderr


def test_the_sweep_goes_on_where_a_trials_process_dies(tmp_path: Path, shared_ray: Ray) -> None:
    spec = _write(tmp_path, ("dies", "fine"), 2)
    options = settings("resources.retries=0")
    done = _run(spec, *options, *shared_ray.options, env=shared_ray.env)
    _assert_only_the_last_is_complete(done, failed=1)
    assert "process died" in done.stderr


def test_a_sweep_whose_trials_all_fail_ends_with_1_and_says_why(tmp_path: Path) -> None:
    spec = _write(tmp_path, ("raises",), 1000)
    done = _run(spec, *settings(LOCAL))
    assert done.returncode == 1
    assert "this layer had enough" in done.stderr
    summary = json.loads(done.stdout)
    assert summary["state"] == "failed"
    assert summary["trials"]["failed"] < 20
