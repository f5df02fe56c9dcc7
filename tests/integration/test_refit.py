"""A sweep's pick is trained again on all samples but the test's, registered, and exported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gapsweep as public
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from service.base.errors import (
    ChangedSweepError,
    DiskFullError,
    InputError,
    NotReadyError,
    ServerError,
    SpecError,
    SweepBusyError,
    SweepNotFoundError,
)
from service.cli import app
from service.run.export_best import export_sweep
from service.run.refit import find_or_refit
from service.sweep.environment import locate_home
from service.sweep.home import SweepFolder
from service.sweep.refit_record import get_refit_folder, read_refit
from tests.commands import gapsweep
from tests.small_disks import fill, make_room, mount_small_disk
from trainables.analysis.rebuild import load

pytestmark = pytest.mark.usefixtures("without_plots")

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, outputs, width=8):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(*input_shape, width), nn.BatchNorm1d(width), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(width, outputs))

    def forward(self, x):
        return self.head(self.body(x))
"""
ROWS = 200


def make_frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.uniform(20, 200, ROWS),
            "rooms": rng.integers(1, 6, ROWS),
            "town": rng.choice(["a", "b", "c d"], ROWS),
        }
    )
    frame.loc[::9, "size"] = np.nan
    frame.loc[::7, "town"] = None
    frame["price"] = 3000 * frame["size"].fillna(90) + 5e4 * (frame.town == "b")
    frame["price"] += rng.normal(0, 1e3, ROWS)
    return frame


SPEC: dict[str, Any] = {
    "name": "homes",
    "trainable": "net:Net",
    "data": {"name": "csv", "path": "homes.csv", "target": "price", "missing": "impute"},
    "training": {"max_epochs": 8, "batch_size": 32, "lr": 0.02},
    "space": {"dropout": {"float": [0.0, 0.3]}, "swa": 0.3},
    "early_stopping": {"patience": 2},
    "search": {"pruner": "none"},
    "budget": {"trials": 2},
    "confirm": {"replicates": 5, "trainings": 10, "sensitivity": 0, "top_k": 1},
    "resources": {"executor": "local"},
}


@dataclass(frozen=True)
class Swept:
    """A finished sweep of raw columns, in a folder with its data and its code."""

    place: Path
    folder: SweepFolder

    def copy(self, to: Path) -> Swept:
        """The same sweep elsewhere, before it was refitted."""
        place = to / "copy"
        shutil.copytree(self.place, place, ignore=shutil.ignore_patterns("refit", "*.pyc"))
        sys.modules.pop("net", None)
        folder = locate_home(place / "home").find("latest")
        folder.origin.write_text(str(place))
        spec = yaml.safe_load(folder.spec.read_text())
        spec["data"]["path"] = str(place / "homes.csv")
        folder.spec.write_text(yaml.safe_dump(spec))
        records = json.loads(folder.fingerprints.read_text())
        records[0]["fingerprint"]["spec"]["data"]["path"] = spec["data"]["path"]
        folder.fingerprints.write_text(json.dumps(records))
        return Swept(place, folder)


def forget(epoch: int, epochs: int, loss: float) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    place = tmp_path_factory.mktemp("refit")
    (place / "net.py").write_text(NET)
    make_frame().to_csv(place / "homes.csv", index=False)
    (place / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAPSWEEP_MLFLOW_URI", "off")
        sweep = public.run(place / "spec.yaml", home=place / "home", progress=False)
        yield Swept(place, sweep.folder)


FRESH = """
import sys, mlflow, numpy, pandas
uri, model, table, out = sys.argv[1:]
mlflow.set_tracking_uri(uri)
made = mlflow.pyfunc.load_model(model).predict(pandas.read_csv(table).drop(columns="price"))
numpy.save(out, made)
assert not {"gapsweep", "service", "trainables"} & sys.modules.keys()
"""


def test_it_is_registered_with_raw_inputs_and_mentioned_and_exported(
    swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, env = swept.place / "home", {"GAPSWEEP_MLFLOW_URI": ""}
    done = gapsweep("refit", "latest", "--home", str(home), env=env)
    assert done.returncode == 0, done.stderr
    assert "refit: epoch 1 of" in done.stderr
    refit = read_refit(swept.folder)
    assert refit is not None
    assert refit.registered is not None
    assert refit.registered.uri == "models:/homes/1"
    assert (refit.rows, refit.test_rows, refit.replicates) == (160, 40, 5)
    assert min(refit.kept_epochs) <= refit.epochs <= max(refit.kept_epochs)
    for words in ("Confirmed estimate: test/loss", "Measured once, on 40 test samples"):
        assert words in done.stdout
    uri = f"sqlite:///{home / 'mlflow.db'}"
    table, out = str(swept.place / "homes.csv"), tmp_path / "out.npy"
    words = [sys.executable, "-I", "-c", FRESH, uri, "models:/homes/1", table, str(out)]
    # MLflow leaves the addresses that other tests set in the environment of this process
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    loaded = subprocess.run(words, check=False, capture_output=True, text=True, env=env)
    assert loaded.returncode == 0, loaded.stderr
    assert "Warning" not in loaded.stderr
    model = public.Sweep(swept.folder).refit_model()
    frame = pd.read_csv(table).drop(columns="price")
    towns = {"a": 1, "b": 2, "c d": 3}  # the missing one is the first category
    numbers = frame.assign(town=frame.town.map(towns).fillna(0)).to_numpy(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(numbers)).numpy()
    np.testing.assert_allclose(np.load(out), expected, rtol=1e-4)
    client = mlflow.MlflowClient(uri)
    version, run = client.get_model_version("homes", "1"), client.get_run(refit.registered.run)
    assert version.tags["gapsweep.sweep_id"] == swept.folder.sweep_id
    assert version.tags["gapsweep.trial"] == str(refit.trial)
    assert "Confirmed estimate" in (version.description or "")
    assert run.data.metrics["test/loss"] == pytest.approx(refit.test["test/loss"])
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["mlflow.runName"] == swept.folder.sweep_id
    again = gapsweep("refit", "latest", "--home", str(home), env=env)
    assert again.returncode == 0, again.stderr
    assert "has a refit; --again" in again.stderr
    assert read_refit(swept.folder) == refit
    shown = str(public.Sweep(swept.folder).report())
    assert "Refit on all samples" in shown
    assert "Refit on all samples" in swept.folder.report.read_text(encoding="utf-8")


def test_the_export_of_a_refit_needs_no_data_and_says_what_it_is(
    swept: Swept, tmp_path: Path
) -> None:
    copied = swept.copy(tmp_path)
    find_or_refit(copied.folder, again=False, accept_changes=False, progress=forget)
    (copied.place / "homes.csv").unlink()
    made = export_sweep(copied.folder, tmp_path / "to", "export", source=None, pruned=False)
    assert made.what.startswith("refit: trial")
    assert (made.has_categories, made.reason, made.unverified) == (True, "", "")
    frame = make_frame().drop(columns="price").head(4)
    assert load(tmp_path / "to")(frame).shape == (4, 1)
    with pytest.raises(SpecError, match=r"homes\.csv"):
        export_sweep(copied.folder, tmp_path / "best", "export", source="best", pruned=False)


@pytest.mark.usefixtures("unverified")
def test_a_change_of_the_data_is_refused_by_name_until_it_is_accepted(
    swept: Swept, tmp_path: Path
) -> None:
    copied = swept.copy(tmp_path)
    frame = make_frame()
    frame.loc[3, "price"] += 1e5
    frame.to_csv(copied.place / "homes.csv", index=False)
    with pytest.raises(ChangedSweepError, match="data: the targets are others"):
        find_or_refit(copied.folder, again=False, accept_changes=False, progress=forget)
    refit, _ = find_or_refit(copied.folder, again=False, accept_changes=True, progress=forget)
    assert refit.changes == ("data: the targets are others",)


class Killed(BaseException):
    pass


@pytest.mark.usefixtures("unverified")
def test_a_killed_refit_leaves_no_damage_and_goes_on(swept: Swept, tmp_path: Path) -> None:
    copied = swept.copy(tmp_path)
    whole, _ = find_or_refit(copied.folder, again=True, accept_changes=False, progress=forget)

    def stop(epoch: int, epochs: int, loss: float) -> None:
        if epoch == epochs // 2:
            raise Killed

    with pytest.raises(Killed):
        find_or_refit(copied.folder, again=True, accept_changes=False, progress=stop)
    assert read_refit(copied.folder) == whole
    seen: list[int] = []

    def remember(epoch: int, epochs: int, loss: float) -> None:
        seen.append(epoch)

    again, existed = find_or_refit(
        copied.folder, again=True, accept_changes=False, progress=remember
    )
    assert not existed
    assert seen == [*range(whole.epochs // 2 + 1, whole.epochs + 1)]
    assert again.test == whole.test  # bit for bit
    names = {p.name for p in get_refit_folder(copied.folder).iterdir()}
    assert names == {"card.json", again.files}


@pytest.mark.usefixtures("unverified")
def test_what_cannot_be_refitted_is_said(swept: Swept, tmp_path: Path) -> None:
    with pytest.raises(SweepNotFoundError, match="nothing"):
        public.refit("nothing", home=swept.place / "home", progress=False)
    there = CliRunner().invoke(app, ["refit", "latest", "--server", "http://127.0.0.1:1"])
    assert isinstance(there.exception, InputError)
    assert "where its data and its folder are" in str(there.exception)
    copied = swept.copy(tmp_path)
    with copied.folder.lock(), pytest.raises(SweepBusyError, match="another process"):
        find_or_refit(copied.folder, again=True, accept_changes=False, progress=forget)
    (copied.place / "net.py").write_text(f"{NET}# changed\n")
    with pytest.raises(ChangedSweepError, match="module net has changed"):
        find_or_refit(copied.folder, again=True, accept_changes=False, progress=forget)
    (copied.place / "homes.csv").unlink()
    with pytest.raises(SpecError, match=r"homes\.csv"):
        find_or_refit(copied.folder, again=True, accept_changes=False, progress=forget)


@pytest.mark.usefixtures("unverified")
def test_a_registry_that_fails_keeps_the_refit_and_a_later_call_registers_it(
    swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = public.Sweep(swept.copy(tmp_path).folder)
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "http://127.0.0.1:9")
    with pytest.raises(ServerError, match=r"MLflow at http://127\.0\.0\.1:9 does not answer"):
        sweep.refit(progress=False)
    refit = read_refit(sweep.folder)
    assert refit is not None
    assert refit.registered is None
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(InputError, match="MLflow refuses the name 'a/b'"):
        sweep.refit(name="a/b", progress=False)
    again = sweep.refit(name="other", progress=False)
    assert again.registered is not None
    assert again.registered.name == "other"
    assert again.files == refit.files


@pytest.mark.usefixtures("unverified")
@pytest.mark.root
def test_a_full_disk_is_said_and_changes_nothing(swept: Swept, tmp_path: Path) -> None:
    with mount_small_disk(tmp_path / "disk", 4096) as disk:
        copied = swept.copy(disk)
        fill(disk)
        with pytest.raises(DiskFullError, match="an earlier refit is unchanged"):
            find_or_refit(copied.folder, again=False, accept_changes=False, progress=forget)
        with pytest.raises(DiskFullError, match="the export is not complete"):
            export_sweep(copied.folder, disk / "to", "export", source="best", pruned=False)
        make_room(disk)
        assert read_refit(copied.folder) is None
        assert not list((disk / "to").glob("*.safetensors"))


def test_a_sweep_without_a_completed_trial_is_said(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET.replace("return self.head", "1 / 0; return self.head"))
    home = locate_home(tmp_path / "home").create()
    folder = home.new_sweep("none")
    folder.write_format()
    folder.spec.write_text(yaml.safe_dump({**SPEC, "data": "digits"}))
    with pytest.raises(NotReadyError, match="has not started a trial"):
        find_or_refit(folder, again=False, accept_changes=False, progress=forget)


LOOP = """
import torch
from torch import nn

def splits():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    parts = {"train": slice(0, 30), "val": slice(30, 45), "test": slice(45, 60)}
    return {name: (x[part], y[part]) for name, part in parts.items()}

def run(trial, net, batches):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(trial.max_epochs):
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        yield trial

def ours(trial):
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(trial.params["dropout"]), nn.Linear(4, 2))
    train, _ = trial.data.loaders()
    for _ in run(trial, net, train):
        trial.report(trial.evaluate(net), seen=len(trial.data.train))

def theirs(trial):
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(trial.params["dropout"]), nn.Linear(4, 2))
    x, y = splits()["train"]
    for _ in run(trial, net, [(x, y)]):
        trial.report(trial.evaluate(net, train=[(x, y)], val=[(x, y)]))
"""


def sweep_loop(place: Path, name: str) -> SweepFolder:
    (place / "loops.py").write_text(LOOP)
    spec = {
        "name": name,
        "trainable": f"loops:{name}",
        "data": {"name": "loops:splits"},
        "training": {"max_epochs": 2},
        "space": {"dropout": {"float": [0.1, 0.3]}},
        "budget": {"trials": 2},
        "search": {"pruner": "none"},
        "confirm": "off",
        "resources": {"executor": "local"},
    }
    (place / "spec.yaml").write_text(yaml.safe_dump(spec))
    return public.run(place / "spec.yaml", home=place / "home", progress=False).folder


def test_a_loop_gets_all_samples_and_one_that_reads_its_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAPSWEEP_MLFLOW_URI", "off")
    ours = sweep_loop(tmp_path, "ours")
    refit, _ = find_or_refit(ours, again=False, accept_changes=False, progress=forget)
    assert (refit.rows, refit.test_rows, refit.no_program, refit.unverified) == (45, 15, "", "")
    assert "It is not confirmed: confirm is off" in refit.what
    theirs = sweep_loop(tmp_path, "theirs")
    with pytest.raises(InputError, match=r"does not read trial\.data"):
        find_or_refit(theirs, again=False, accept_changes=False, progress=forget)
