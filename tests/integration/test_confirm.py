"""A real sweep that confirms its finalists, on data where no regulariser can help."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.commands import gapsweep

# Many samples, three features, a linear truth: nothing overfits, and shrinking only biases.
USERS_FILE = """
import torch
from torch import nn

def network(input_shape, outputs):
    return nn.Linear(input_shape[0], outputs)

def splits():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3000, 3, generator=generator)
    y = x @ torch.tensor([[2.0], [-1.0], [0.5]]) + 0.1 * torch.randn(3000, 1, generator=generator)
    return {"train": (x[:2000], y[:2000]), "val": (x[2000:2500], y[2000:2500]),
            "test": (x[2500:], y[2500:])}
"""


def test_it_says_that_no_regulariser_helped(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(USERS_FILE)
    spec = {
        "name": "plain",
        "trainable": "plain:network",
        "data": "plain:splits",
        "training": {"max_epochs": 6, "lr": 0.02},
        "space": {
            "penalty": {"choice": ["l1", "l2"]},
            "lambda": {"float": [0.01, 1.0], "log": True},
        },
        "search": {"pruner": "none"},
        "budget": {"trials": 14},
        "confirm": {"top_k": 2, "seeds": 3},
        "resources": {"executor": "local"},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    home = tmp_path / "home"
    done = gapsweep("run", str(tmp_path / "spec.yaml"), "--home", str(home))
    assert done.returncode == 0, done.stderr
    assert "No regulariser helped here" in " ".join(done.stdout.split())
    (folder,) = (home / "sweeps").iterdir()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["trials"]["complete"] == 14
    assert "Confirmed with 3 new seeds" in done.stdout
    assert "test/loss" in done.stdout
