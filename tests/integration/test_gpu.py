"""What runs on a GPU: the curves of a CPU, packing, memory, precision, compilation, own loops."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from gapsweep import open_sweep
from torch._dynamo.utils import counters

from service.cluster.divisions import TrialContext
from service.cluster.worker import Worker
from service.spec.file import parse_spec
from service.study.messages import Assignment, EpochReport
from service.study.records import Role
from tests.commands import gapsweep_process
from tests.trainings import hand_over, same_state, splits
from trainables.build import build_training
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.placing import Placed, place_split
from trainables.data.rows import GivenRows
from trainables.distributed.process import Group, Rendezvous
from trainables.loop import TrainingRun, train
from trainables.models import CNN, MLP

pytestmark = pytest.mark.gpu

NETWORK = """
import torch
from torch import nn


class Hungry(nn.Module):
    def __init__(self, input_shape, outputs, share=0.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout())
        self.last = nn.Linear(8, outputs)
        self.share = share

    def forward(self, x):
        if self.training and self.share:
            size = int(self.share * torch.cuda.mem_get_info()[1])
            torch.empty(size, dtype=torch.uint8, device="cuda")
        return self.last(self.layers(x))
"""


def curve(
    trainable: Trainable,
    device: str,
    placed: Placed | None = None,
    regularisation: dict[str, Any] | None = None,
    **training: Any,
) -> list[dict[str, float]]:
    settings = Training(max_epochs=5, batch_size=16, lr=0.01, **training)
    reg = read_regularisers(regularisation or {})
    data = splits(300, 100)
    run = build_training(trainable, data, settings, reg, None, device=device, placed=placed)
    return [dict(result.metrics) for result in train(run)]


def alike(found: list[dict[str, float]], expected: list[dict[str, float]], by: float) -> bool:
    return all(
        f["val/loss"] == pytest.approx(e["val/loss"], abs=by)
        and f["gap/loss"] == pytest.approx(e["gap/loss"], abs=by)
        for f, e in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("trainable", [MLP([16]), CNN([8], 16)], ids=["mlp", "cnn"])
@pytest.mark.parametrize("penalty", ["none", "l1", "l2", "group_lasso"])
def test_a_gpu_has_the_curve_of_a_cpu(trainable: Trainable, penalty: str) -> None:
    regularisation = {"penalty": penalty, "lambda": 0.01}
    there = curve(trainable, "cuda", regularisation=regularisation)
    assert alike(there, curve(trainable, "cpu", regularisation=regularisation), 1e-3)


def test_batches_that_are_fetched_give_the_same_curve() -> None:
    data = splits(300, 100)
    train, val = (place_split(s, "cuda") for s in (data.train, data.val))
    fetched = Placed("cuda", train, val, train)
    network = CNN([8], 16)
    assert alike(curve(network, "cuda", fetched), curve(network, "cuda"), 1e-4)


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_a_faster_precision_learns_the_same(precision: str) -> None:
    network = CNN([8], 16)
    assert alike(curve(network, "cuda", precision=precision), curve(network, "cuda"), 0.03)


def test_a_compiled_network_learns_the_same_and_is_compiled_once() -> None:
    torch._dynamo.reset()
    counters.clear()
    network = CNN([8], 16)
    compiled = curve(network, "cuda", compile=True)
    graphs = counters["stats"]["unique_graphs"]
    curve(network, "cuda", compile=True, regularisation={"penalty": "l1", "lambda": 0.1})
    curve(network, "cuda", compile=True, regularisation={"dropout": 0.4})
    assert counters["stats"]["unique_graphs"] == graphs > 0
    assert alike(compiled, curve(network, "cuda"), 1e-3)


def test_a_trial_leaves_no_memory_to_the_next(tmp_path: Path) -> None:
    spec = parse_spec(
        {
            "name": "memory",
            "trainable": "trainables.models:CNN",
            "data": {"name": "digits"},
            "space": {"dropout": {"float": [0.0, 0.5]}},
            "resources": {"gpus": 1},
        },
        "spec",
        tmp_path,
    )
    worker = Worker(TrialContext(spec, GivenRows(splits(300, 100)), tmp_path))
    gc.collect()
    torch.cuda.empty_cache()
    left = []
    for number in range(3):
        worker.take(Assignment(number, {}, Role.SEARCH))
        left.append(torch.cuda.memory_reserved())
        assert isinstance(worker.advance(), EpochReport)
        assert torch.cuda.memory_reserved() > left[0]
    assert left[1] == left[2]  # the data alone


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_resumed_training_goes_on_bit_for_bit(precision: str) -> None:
    def start() -> TrainingRun:
        reg = read_regularisers({"penalty": "l1", "lambda": 0.02, "dropout": 0.4, "ema": 0.9})
        settings = Training(max_epochs=5, batch_size=16, lr=0.01, precision=precision)
        return build_training(MLP([16]), splits(300, 100), settings, reg, None, device="cuda")

    whole, first, second = start(), start(), start()
    expected = [dict(result.metrics) for result in train(whole)]
    hand_over(first, second, 2)
    assert [dict(result.metrics) for result in train(second)] == expected[2:]
    assert same_state(second.model.state_dict(), whole.model.state_dict())


def sweep(folder: Path, **spec: Any) -> dict[str, Any]:
    (folder / "hungry.py").write_text(NETWORK)
    whole = {
        "name": "packed",
        "trainable": "hungry:Hungry",
        "data": {"name": "digits"},
        "training": {"max_epochs": 5},
        "early_stopping": None,
        **spec,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(whole))
    done = gapsweep_process(
        "run", str(folder / "spec.yaml"), "--json", "--home", str(folder / "home")
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return {**summary, "said": done.stderr}


def test_four_share_a_gpu_and_one_that_wants_too_much_fails_alone(tmp_path: Path) -> None:
    shares = [0.0, 0.3, 0.0, 0.0]
    points = [{"model.share": s, "dropout": 0.1 * n} for n, s in enumerate(shares)]
    summary = sweep(
        tmp_path,
        space={"model.share": {"choice": [0.0, 0.3]}, "dropout": {"float": [0.0, 0.5]}},
        search={"baseline": False, "pruner": "none", "enqueue": points},
        budget={"trials": 4},
        resources={"gpus": 0.25, "cpus": 0.25, "concurrent": 4},
    )
    assert summary["trials"] == {"complete": 3, "pruned": 0, "failed": 1, "running": 0, "paused": 0}
    assert "out of memory" in summary["said"]


LOCAL = {"executor": "local", "gpus": 1}
LOOP = """
import pathlib

import torch
from torch import nn


def train(trial):
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10)
    ).to(trial.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0)
    parts = trial.regularise(model, optimizer)
    loader, _ = trial.data.loaders(64)
    while True:
        for x, y in loader:
            batch = parts.batch(x.to(trial.device), y.to(trial.device))
            optimizer.zero_grad()
            parts.loss(model(batch.x), batch).backward()
            optimizer.step()
            if batch.x.is_cuda:
                pathlib.Path(__file__).with_name("on_gpu").touch()
        yield trial.evaluate(model)
"""
MODULE = """
import pathlib

import lightning.pytorch as pl
import torch
from torch import nn


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10)
        )

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        if x.is_cuda:
            pathlib.Path(__file__).with_name("on_gpu").touch()
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self(x), y))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.01, weight_decay=0)
"""


@pytest.mark.parametrize(
    ("module", "trainable"), [(LOOP, "train"), (MODULE, "Net")], ids=["loop", "lightning"]
)
def test_a_loop_of_a_users_own_trains_on_a_gpu(tmp_path: Path, module: str, trainable: str) -> None:
    (tmp_path / "mine.py").write_text(module)
    summary = sweep(
        tmp_path,
        trainable=f"mine:{trainable}",
        space={"penalty": {"choice": ["l1"]}, "lambda": {"float": [1e-5, 1e-4], "log": True}},
        budget={"trials": 2},
        confirm={"replicates": 5, "top_k": 1},
        resources=LOCAL,
    )
    assert summary["trials"] == {"complete": 2, "pruned": 0, "failed": 0, "running": 0, "paused": 0}
    assert (tmp_path / "on_gpu").exists()
    assert summary["best"]["metrics"]["val/loss"] < 1.5  # of ten classes: log 10 = 2.3


_READ = """
import sys
import torch

assert not torch.cuda.is_available()
kind, path, rows, to = sys.argv[1:]
program = torch.export.load(path).module() if kind == "export" else torch.jit.load(path)
torch.save(program(torch.load(rows)), to)
"""


@pytest.mark.parametrize(("kind", "name"), [("export", "model.pt2"), ("torchscript", "model.ts")])
def test_what_a_gpu_trained_is_exported_for_a_cpu(tmp_path: Path, kind: str, name: str) -> None:
    sweep(
        tmp_path,
        trainable="trainables.models:MLP",
        space={"dropout": {"float": [0.1, 0.2]}},
        budget={"trials": 1},
        confirm="off",
        resources=LOCAL,
    )
    home = ("--home", str(tmp_path / "home"))
    done = gapsweep_process(
        "export", "latest", *home, "--format", kind, "--to", str(tmp_path / "to")
    )
    assert done.returncode == 0, done.stderr
    rows = torch.rand(20, 1, 8, 8)
    torch.save(rows, tmp_path / "rows.pt")
    words = [kind, str(tmp_path / "to" / name), str(tmp_path / "rows.pt"), str(tmp_path / "out.pt")]
    subprocess.run(
        [sys.executable, "-c", _READ, *words],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    network = open_sweep("latest", home=tmp_path / "home").best_model()
    outputs = torch.load(tmp_path / "out.pt")
    torch.testing.assert_close(outputs, network(rows), atol=1e-5, rtol=1e-4)


MORTAL = """
import os
import pathlib
import signal

from torch import nn


class Mortal(nn.Module):
    def __init__(self, outputs, dies_at=""):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, outputs)
        )
        self.mark = pathlib.Path(dies_at) if dies_at else None

    def forward(self, x):
        if self.training and self.mark is not None:
            calls = int(self.mark.read_text() or 0) + 1
            self.mark.write_text(str(calls))
            if calls == 100:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.layers(x)
"""


def test_a_killed_sweep_on_a_gpu_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    curves = []
    for name in ("whole", "killed"):
        folder, home = tmp_path / name, str(tmp_path / name / "home")
        folder.mkdir()
        (folder / "mortal.py").write_text(MORTAL)
        (folder / "mark").write_text("")
        spec = {
            "name": "mortal",
            "trainable": "mortal:Mortal",
            "data": {"name": "digits"},
            "model": {"dies_at": str(folder / "mark") if name == "killed" else ""},
            "training": {"max_epochs": 5, "batch_size": 64},
            "early_stopping": None,
            "space": {"dropout": {"float": [0.1, 0.5]}},
            "search": {"pruner": "none"},
            "budget": {"trials": 3},
            "confirm": "off",
            "resources": LOCAL,
        }
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
        done = gapsweep_process("run", str(folder / "spec.yaml"), "--home", home)
        if name == "killed":
            assert done.returncode == -signal.SIGKILL, done.stderr
            done = gapsweep_process("resume", "latest", "--home", home)
        assert done.returncode == 0, done.stderr
        (history,) = (folder / "home").glob("sweeps/*/history.jsonl")
        lines = map(json.loads, history.read_text(encoding="utf-8").splitlines())
        curves.append({(e["trial"], e["epoch"]): e["metrics"]["val/loss"] for e in lines})
    assert curves[0] == curves[1]
    assert len(curves[0]) == 3 * 5


def test_a_group_of_one_on_a_gpu_is_one_process_more_or_less() -> None:
    """NCCL beside gloo, the wrapped network, every collective; more ranks take more GPUs."""
    rendezvous = Rendezvous(("127.0.0.1", 0), is_host=True)
    group = Group.join(rendezvous, rank=0, world=1, device="cuda")
    try:
        run = build_training(
            CNN([8], 16),
            splits(300, 100),
            Training(max_epochs=5, batch_size=16, lr=0.01),
            read_regularisers({"ema": 0.5}),
            None,
            device="cuda",
            process=group,
        )
        shared = [dict(result.metrics) for result in train(run)]
    finally:
        group.leave()
    alone = curve(CNN([8], 16), "cuda", regularisation={"ema": 0.5})
    assert alike(shared, alone, 1e-4)


@pytest.mark.gpu(count=2)
def test_a_group_on_two_gpus_has_the_curve_of_one(tmp_path: Path) -> None:
    values = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        summary = sweep(
            folder,
            space={"dropout": {"choice": [0.0]}},
            search={"pruner": "none"},
            budget={"trials": 1},
            resources={"workers": workers, "gpus": workers, "concurrent": 1},
        )
        values.append(summary["baseline"]["metrics"])
    for name in ("val/loss", "gap/loss"):
        assert values[1][name] == pytest.approx(values[0][name], abs=1e-4)
