"""A sweep knows what it was run on: changes are named, refused, and reported once accepted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gapsweep
import numpy as np
import pytest
import yaml

from service.base.errors import ChangedSweepError
from service.run import fingerprints
from service.sweep.environment import locate_home
from service.sweep.fingerprint import read_records
from tests.commands import gapsweep as command
from tests.contract.sweeps import BASE

pytestmark = pytest.mark.usefixtures("without_plots")

NET = """
from torch import nn

from helper_of_net import WIDTH


class Net(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(*input_shape, WIDTH), nn.Dropout(), nn.Linear(WIDTH, outputs)
        )

    def forward(self, x):
        return self.layers(x)
"""


def _write_rows(path: Path, flip: int = 0, rows: int = 60) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 3))
    y = (x[:, 0] > 0).astype(int)
    y[:flip] = 1 - y[:flip]
    lines = [",".join((*(f"{v:.4f}" for v in row), str(t))) for row, t in zip(x, y, strict=True)]
    path.write_text("\n".join(["a,b,c,label", *lines]) + "\n")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's data and code and the home of one sweep on them."""
    place = tmp_path_factory.mktemp("changes")
    _write_rows(place / "rows.csv")
    (place / "net_of_changes.py").write_text(NET)
    (place / "helper_of_net.py").write_text("WIDTH = 4\n")
    spec = {
        **BASE,
        "trainable": "net_of_changes:Net",
        "model": {},
        "data": {"name": "csv", "path": "rows.csv", "target": "label"},
        "resources": {"executor": "local"},
        "budget": {"trials": 2},
    }
    (place / "spec.yaml").write_text(yaml.safe_dump(spec))
    done = command(
        *("run", str(place / "spec.yaml"), "--home", str(place / "home")),
        env={"GAPSWEEP_MLFLOW_URI": "off"},
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def place(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as it was left, for one test to change and to put back."""
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    kept = finished.with_name(finished.name + "-kept")
    if not kept.exists():
        shutil.copytree(finished, kept)
    shutil.rmtree(finished)
    shutil.copytree(kept, finished)
    return finished


def _resume(place: Path, *options: str) -> Any:
    return command("resume", "latest", "--home", str(place / "home"), "--trials", "1", *options)


def _edit_spec(place: Path, change: Callable[[dict[str, Any]], object]) -> None:
    folder = locate_home(place / "home").find("latest")
    raw = yaml.safe_load(folder.spec.read_text())
    change(raw)
    folder.spec.write_text(yaml.safe_dump(raw))


def test_nothing_has_changed_and_a_sweep_goes_on(place: Path) -> None:
    done = _resume(place)
    assert done.returncode == 0, done.stderr
    assert "something else" not in done.stdout
    folder = locate_home(place / "home").find("latest")
    assert len(read_records(folder)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: _write_rows(p / "rows.csv", flip=30), "data: the targets are others"),
        (
            lambda p: _write_rows(p / "rows.csv", rows=70),
            "data: there were 60 samples, there are 70",
        ),
        (
            lambda p: (p / "net_of_changes.py").write_text(NET + "\n# edited\n"),
            "code: module net_of_changes has changed",
        ),
        (
            lambda p: (p / "helper_of_net.py").write_text("WIDTH = 5\n"),
            "code: module helper_of_net has changed",
        ),
        (
            lambda p: _edit_spec(p, lambda raw: raw["training"].update(lr=0.5)),
            "training.lr: was 0.01, is 0.5",
        ),
    ],
)
def test_a_change_is_refused_by_name(
    place: Path, change: Callable[[Path], object], words: str
) -> None:
    change(place)
    folder = locate_home(place / "home").find("latest")
    before = folder.summary.read_bytes()
    done = _resume(place)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert "--accept-changes" in done.stderr
    assert "Traceback" not in done.stderr
    assert folder.summary.read_bytes() == before


def test_an_accepted_change_is_reported_from_its_trial_on(place: Path) -> None:
    _write_rows(place / "rows.csv", flip=30)
    done = _resume(place, "--accept-changes")
    assert done.returncode == 0, done.stderr
    words = "From trial 2 on it ran on something else (data: the targets are others)."
    shown = " ".join(done.stdout.split())
    assert words in shown
    folder = locate_home(place / "home").find("latest")
    assert words in folder.report.read_text()
    assert json.loads(folder.summary.read_text())["changes"] == [words]
    again = _resume(place)  # it is what the sweep runs on now
    assert again.returncode == 0, again.stderr
    assert words in " ".join(again.stdout.split())
    sweep = gapsweep.open_sweep(home=place / "home")
    assert words in sweep.report().verdict


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda raw: raw["space"]["penalty"].update(choice=["none", "l2", "l1"]),
            "space.penalty: was",
        ),
        (lambda raw: raw["space"].pop("dropout"), "space.dropout: was"),
        (
            lambda raw: raw["space"].update(label_smoothing={"float": [0.0, 0.1]}),
            "space.label_smoothing: was not set, is",
        ),
        (lambda raw: raw.update(name="other"), 'name: was "contract", is "other"'),
        (
            lambda raw: raw["objective"].update(metric="val/accuracy", mode="max"),
            "a sweep's objective cannot change",
        ),
        (lambda raw: raw["budget"].update(trials=9), "gapsweep resume SWEEP --trials N"),
    ],
)
def test_a_spec_that_the_study_cannot_take_is_explained(
    place: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    _edit_spec(place, change)
    done = _resume(place, "--accept-changes")
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert "start a new sweep: gapsweep run" in " ".join(done.stderr.split())
    assert "Optuna" not in done.stderr
    assert "Traceback" not in done.stderr


def test_budgets_of_time_and_resources_may_change(place: Path) -> None:
    _edit_spec(place, lambda raw: raw["budget"].update(minutes=30))
    assert _resume(place).returncode == 0


def test_another_torch_is_refused_and_another_ray_is_noted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"torch": "9.1.0", "ray": "9.9.9"}
    find = fingerprints._find_version
    monkeypatch.setattr(fingerprints, "_find_version", lambda n: versions.get(n) or find(n))
    with pytest.raises(ChangedSweepError, match=r"torch was .*, is 9\.1\.0") as caught:
        gapsweep.resume(home=place / "home", trials=1, progress=False)
    assert "ray" not in str(caught.value)
    sweep = gapsweep.resume(home=place / "home", trials=1, progress=False, accept_changes=True)
    assert "torch" in sweep.report().verdict


def test_a_sweep_without_fingerprints_goes_on_and_has_one_then(place: Path) -> None:
    folder = locate_home(place / "home").find("latest")
    folder.fingerprints.unlink()
    assert _resume(place).returncode == 0
    (record,) = read_records(folder)
    assert record.from_trial == 2
