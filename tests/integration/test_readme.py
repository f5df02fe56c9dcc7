"""The examples of the READMEs run as they stand there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gapsweep as public
import numpy as np
import pandas as pd
import pytest
import yaml
from torch import nn

from service.spec.file import parse_spec
from tests.commands import DIGITS, REPOSITORY, gapsweep, settings
from tests.documents import FRONT, blocks, example
from tests.rays import Ray

pytestmark = pytest.mark.usefixtures("without_plots")

SMALL = ("budget.trials=3", "training.max_epochs=2", "confirm=off")
HERE = ("resources={executor: local}",)
TRAINABLES = REPOSITORY / "trainables" / "README.md"
REGULARISERS = REPOSITORY / "trainables" / "regularisers" / "README.md"
RUN = REPOSITORY / "service" / "run" / "README.md"
SPEC = REPOSITORY / "service" / "spec" / "README.md"


@pytest.fixture
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")


def write(folder: Path, document: Path, name: str) -> None:
    """The example's files: a module, which its first line names, and the spec."""
    code = example(document, name, "python")
    (folder / code.splitlines()[0].removeprefix("# ")).write_text(code, encoding="utf-8")
    (folder / "spec.yaml").write_text(example(document, name, "yaml"), encoding="utf-8")


def swept(folder: Path, *options: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """The summary of a small sweep of the example's spec."""
    home = ("--home", str(folder / "home"), "--json")
    done = gapsweep("run", str(folder / "spec.yaml"), *home, *options, env=env)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    assert summary["trials"]["failed"] == 0
    return summary


def trials_of(folder: Path, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters of every trial of a sweep."""
    found = public.open_sweep(summary["sweep_id"], home=folder / "home")
    return [dict(trial.params) for trial in found.records()]


def write_homes(folder: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.uniform(20, 200, 200), "town": rng.choice(["a", "b"], 200)})
    frame["price"] = 3000 * frame["size"] + 50000 * (frame.town == "b")
    frame.to_csv(folder / "homes.csv", index=False)


def test_the_spec_by_example_is_the_demos() -> None:
    text = FRONT.read_text(encoding="utf-8")
    raw = yaml.safe_load(blocks(text[text.index("## A spec") :], "yaml")[0])
    spec = parse_spec(raw, "README", Path())
    demo = parse_spec(yaml.safe_load(DIGITS.read_text(encoding="utf-8")), "digits", Path())
    loss = {"loss": demo.training.loss}  # written out there, the default here
    assert spec.model_copy(update={"training": spec.training.model_copy(update=loss)}) == demo


def test_the_residual_network(tmp_path: Path, no_mlflow: None, shared_ray: Ray) -> None:
    write(tmp_path, TRAINABLES, "resnet")
    changes = settings(*SMALL, "training.max_epochs=1", "model.width=2", "search.pruner=none")
    summary = swept(tmp_path, *shared_ray.options, *changes, env=shared_ray.env)
    assert summary["trials"] == {"complete": 3, "pruned": 0, "failed": 0, "running": 0, "paused": 0}


@pytest.mark.parametrize("trainable", ["fit:train", "fit:Digits"])
def test_the_fit_of_lightning(tmp_path: Path, no_mlflow: None, trainable: str) -> None:
    write(tmp_path, TRAINABLES, "lightning")
    changes = settings(*SMALL, *HERE, "search.pruner=none", f"trainable={trainable}")
    summary = swept(tmp_path, *changes)
    assert summary["trials"]["complete"] == 3


def test_the_loop_of_ones_own(tmp_path: Path, no_mlflow: None) -> None:
    write(tmp_path, TRAINABLES, "own loop")
    changes = settings(*SMALL, *HERE, "search.pruner=none")
    assert swept(tmp_path, *changes)["trials"]["complete"] == 3


def test_the_trainer_of_hugging_face(tmp_path: Path, no_mlflow: None) -> None:
    write(tmp_path, TRAINABLES, "hugging face")
    changes = settings(*SMALL, *HERE, "search.pruner=none")
    assert swept(tmp_path, *changes)["trials"]["complete"] == 3


def test_the_loop_elsewhere(
    tmp_path: Path,
    no_mlflow: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example(RUN, "ask and tell", "python"), names)
    assert names["sweep"].ended
    assert "looks better than the control" in capsys.readouterr().out


def test_the_table(tmp_path: Path, no_mlflow: None) -> None:
    write_homes(tmp_path)
    (tmp_path / "spec.yaml").write_text(example(TRAINABLES, "table", "yaml"))
    validated = gapsweep("validate", str(tmp_path / "spec.yaml"))
    assert validated.returncode == 0, validated.stderr
    assert "regression" in validated.stdout
    assert swept(tmp_path, *settings(*SMALL, *HERE))["trials"]["complete"] == 3


def test_the_network_for_a_table(tmp_path: Path, no_mlflow: None) -> None:
    write_homes(tmp_path)
    write(tmp_path, FRONT, "network")
    assert swept(tmp_path, *settings(*SMALL, *HERE))["trials"]["complete"] == 3


def test_the_trainings_keys_are_valid() -> None:
    spec = yaml.safe_load(DIGITS.read_text(encoding="utf-8"))
    training = yaml.safe_load(example(TRAINABLES, "training", "yaml"))["training"]
    parsed = parse_spec({**spec, "training": training}, "README", Path())
    assert [metric.name for metric in parsed.training.metrics] == ["top5", "worst", "f1"]


def test_the_penalty_and_the_augmentation_in_one_short_file(
    tmp_path: Path, no_mlflow: None
) -> None:
    assert len(example(FRONT, "own regularisers", "python").splitlines()) < 30
    write(tmp_path, FRONT, "own regularisers")
    points = [
        {"penalty": "mine:Huber", "lambda": 0.01, "augmentation": "none"},
        {"penalty": "none", "augmentation": "mine:Jitter", "augmentation_strength": 0.5},
    ]
    changes = settings(*SMALL, *HERE, f"search.enqueue={json.dumps(points)}")
    assert trials_of(tmp_path, swept(tmp_path, *changes))[1:] == points


def test_the_components(tmp_path: Path, no_mlflow: None) -> None:
    write(tmp_path, SPEC, "own components")
    changes = settings("budget.trials=3", "training.max_epochs=4", "confirm=off", *HERE)
    swept(tmp_path, *changes, "--set", "search.pruner.bound=0")
    found = public.open_sweep(home=tmp_path / "home").trials
    assert list(found.state) == ["complete", "pruned", "pruned"]  # the baseline is never pruned
    assert list(found.epochs) == [4, 2, 2]
    swept(tmp_path, *changes, *settings("search.pruner=none", "early_stopping.target=100"))
    found = public.open_sweep(home=tmp_path / "home").trials
    assert list(found.state) == ["complete"] * 3  # reached in the first epoch, stopped in the next
    assert list(found.epochs) == [4, 2, 2]


def test_the_hook(tmp_path: Path, no_mlflow: None) -> None:
    write(tmp_path, REGULARISERS, "own hook")
    summary = swept(tmp_path, *settings(*SMALL, *HERE, "search.pruner=none"))
    assert all(0.1 <= trial["clipping.limit"] <= 10 for trial in trials_of(tmp_path, summary)[1:])


def test_python(
    tmp_path: Path,
    no_mlflow: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = yaml.safe_load(DIGITS.read_text(encoding="utf-8"))
    spec["budget"], spec["resources"] = {"trials": 6}, {"executor": "local"}
    spec["training"]["max_epochs"], spec["confirm"] = 2, None
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example(FRONT, "python", "python"), names)
    assert names["sweep"].report().verdict in capsys.readouterr().out
    assert len(names["best"]) == 5
    assert isinstance(names["network"], nn.Module)
    (folder,) = (tmp_path / "gapsweep-data" / "sweeps").iterdir()
    assert folder.name == names["sweep"].id
