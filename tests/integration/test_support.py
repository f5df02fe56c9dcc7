"""L1 finds which of 200 features matter, at the λ that a sweep picks; L2 does not.

The λ that predicts best keeps features that do not matter as well (Meinshausen & Bühlmann 2006,
section 3), so the sweep is asked for what a user would want: the sparsest model whose validation
loss is within a tenth of the best one that a first sweep found.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.commands import gapsweep

FEATURES, TRUE, SAMPLES = 200, 10, 2000
USERS_FILE = f"""
import torch
from torch import nn

def network(input_shape, outputs):
    return nn.Linear(input_shape[0], outputs)

def splits():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn({2 * SAMPLES}, {FEATURES}, generator=generator)
    weights = torch.zeros({FEATURES}, 1)
    weights[:{TRUE}, 0] = torch.tensor([1.0, -1.0]).repeat({TRUE // 2}) * (
        1 + torch.rand({TRUE}, generator=generator)
    )
    y = x @ weights + 0.5 * torch.randn(len(x), 1, generator=generator)
    return {{"train": (x[:{SAMPLES}], y[:{SAMPLES}]), "val": (x[{SAMPLES}:], y[{SAMPLES}:])}}
"""


def swept(folder: Path, penalty: str, **changes: Any) -> dict[str, Any]:
    spec = {
        "name": "support",
        "trainable": "support:network",
        "data": "support:splits",
        "training": {
            "max_epochs": 40,
            "batch_size": SAMPLES,
            "optimizer": "sgd",
            "momentum": 0.0,
            "lr": 0.2,
            "schedule": "constant",
        },
        "early_stopping": None,
        "space": {
            "penalty": {"choice": [penalty]},
            "lambda": {"float": [1e-3, 1.0], "log": True},
        },
        "search": {"pruner": "none"},
        "budget": {"trials": 20},
        "confirm": "off",
        "resources": {"executor": "local"},
        **changes,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    home = ("--home", str(folder / "home"), "--json")
    env = {"GAPSWEEP_MLFLOW_URI": "off"}
    done = gapsweep("run", str(folder / "spec.yaml"), *home, env=env)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def f1(folder: Path, summary: dict[str, Any]) -> float:
    weights = torch.load(folder / "home" / summary["best"]["checkpoint"], weights_only=True)
    chosen = weights["weight"][0] != 0
    return float(2 * chosen[:TRUE].sum() / (chosen.sum() + TRUE))


@pytest.mark.usefixtures("without_plots")
def test_l1_recovers_the_support_and_l2_does_not(tmp_path: Path) -> None:
    (tmp_path / "support.py").write_text(USERS_FILE)
    within = 1.1 * swept(tmp_path, "l1")["best"]["metrics"]["val/loss"]
    sparsest = {
        "objective": {"metric": "sparsity", "mode": "max"},
        "constraints": [{"metric": "val/loss", "max": within}],
    }
    assert f1(tmp_path, swept(tmp_path, "l1", **sparsest)) >= 0.95
    assert f1(tmp_path, swept(tmp_path, "l2", **sparsest, budget={"trials": 8})) < 0.2
