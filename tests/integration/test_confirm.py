"""Real sweeps that confirm their answer, on data where the truth is known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from service.study.records import Role
from service.sweep.home import Home
from service.sweep.load import read_sweep
from service.tracking.run_tags import SEARCHED
from tests.commands import gapsweep

pytestmark = pytest.mark.usefixtures("without_plots")

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
SPEC: dict[str, Any] = {
    "name": "plain",
    "trainable": "plain:network",
    "data": {"name": "plain:splits", "redraw": "pooled"},
    "training": {"max_epochs": 6, "lr": 0.02},
    "space": {
        "penalty": {"choice": ["l1", "l2"]},
        "lambda": {"float": [0.01, 1.0], "log": True},
    },
    "search": {"pruner": "none"},
    "budget": {"trials": 8},
    "confirm": {"top_k": 2, "trainings": 30},
    "resources": {"executor": "local"},
}


def run(folder: Path, **changes: Any) -> tuple[str, dict[str, Any]]:
    """Run the spec; returns what is printed and the summary."""
    (folder / "plain.py").write_text(USERS_FILE)
    (folder / "spec.yaml").write_text(yaml.safe_dump({**SPEC, **changes}))
    done = gapsweep("run", str(folder / "spec.yaml"), "--home", str(folder / "home"))
    assert done.returncode == 0, done.stderr
    (sweep,) = (folder / "home" / "sweeps").iterdir()
    return done.stdout, json.loads((sweep / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("confirm")
    return folder, *run(folder)


def test_it_says_that_no_effect_is_shown(confirmed: tuple[Path, str, dict[str, Any]]) -> None:
    _, output, summary = confirmed
    answer = summary["answer"]
    assert answer["claim"] == "not_shown"
    assert answer["on"] == "new_splits"
    assert answer["replicates"] >= 5
    assert answer["test_rows"] == 500
    assert summary["trials"]["complete"] == 8
    words = " ".join(output.split())
    assert "Not shown: no useful effect of trial" in words
    assert "Replicates: mean ± half of the 95 % interval" in words


def test_replicates_have_other_samples_and_the_same_test_samples(
    confirmed: tuple[Path, str, dict[str, Any]],
) -> None:
    folder, _, summary = confirmed
    sweep_folder = Home(folder / "home").find("latest")
    _, _, sweep = read_sweep(sweep_folder)
    replicates = [t for t in sweep.trials if t.role is Role.REPLICATE]
    assert len(replicates) == summary["replicates"] >= 15
    assert {t.replicate for t in replicates} >= {1, 2, 3, 4, 5}
    assert all(sweep_folder.test_rows(t.number).exists() for t in replicates)
    controls = [t for t in replicates if t.confirms == 0]
    assert len({t.best["train/loss"] for t in controls}) == len(controls)
    assert all(t.control and t.control["epoch"] <= t.best["epoch"] for t in controls)


def test_mlflow_has_the_answer_and_its_filter_leaves_the_search(
    confirmed: tuple[Path, str, dict[str, Any]],
) -> None:
    folder, _, summary = confirmed
    client = MlflowClient(f"sqlite:///{folder / 'home' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("gapsweep")
    assert experiment is not None
    searched = client.search_runs([experiment.experiment_id], SEARCHED)
    assert {r.data.tags["gapsweep.role"] for r in searched} == {"sweep", "baseline", "search"}
    assert len(searched) == 9
    replicates = client.search_runs([experiment.experiment_id], "tags.`gapsweep.replicate` = '1'")
    assert {r.data.tags["gapsweep.role"] for r in replicates} == {"replicate"}
    assert "trial 0" in {r.data.tags["gapsweep.arm"] for r in replicates}
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`gapsweep.answer` != ''")
    answer = json.loads(parent.data.tags["gapsweep.answer"])
    assert answer["effect"] == summary["answer"]["effect"]
    assert parent.data.tags["gapsweep.answer.claim"] == "not_shown"


def test_given_splits_are_said_to_be_one_split(tmp_path: Path) -> None:
    fewer = {"budget": {"trials": 4}, "confirm": {"top_k": 1, "trainings": 10}}
    output, summary = run(tmp_path, data="plain:splits", **fewer)
    assert summary["answer"]["on"] == "one_split"
    assert "on this split" in " ".join(output.split())


def test_without_test_samples_it_is_unconfirmed(tmp_path: Path) -> None:
    data = {"name": "breast_cancer", "test": 0}
    output, summary = run(tmp_path, data=data, trainable="trainables.models:MLP", confirm=None)
    assert summary["answer"]["claim"] == "unconfirmed"
    assert summary["replicates"] == 0
    assert "Unconfirmed: " in output


def test_its_extension_is_confirmed_with_what_is_unspent(
    confirmed: tuple[Path, str, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(confirmed[0], tmp_path, dirs_exist_ok=True)
    home = ("--home", str(tmp_path / "home"))
    folder = Home(tmp_path / "home").find("latest")
    before = read_sweep(folder)[1].attributes
    done = gapsweep("resume", "latest", "--trials", "4", *home)
    assert done.returncode == 0, done.stderr
    _, study, sweep = read_sweep(folder)
    assert len(sweep.searched) == 12
    assert sum(look["alpha"] for look in study.attributes.looks) <= 0.025
    assert list(study.attributes.looks)[: len(before.looks)] == list(before.looks)
    assert sweep.answer is not None
    assert sweep.answer.compared == 11
