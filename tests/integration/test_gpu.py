"""What runs on a GPU: the CPU's curves, packing, memory, precision, compiled networks."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch._dynamo.utils import counters

from service.cluster.worker import TrialContext, Worker
from service.spec.file import parse_spec
from service.study.messages import Assignment, EpochReport
from service.study.records import Role
from tests.commands import gapsweep_process
from tests.trainings import splits
from trainables.build import build_training
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.placing import Placed, place_split
from trainables.distributed.process import Group, Rendezvous
from trainables.loop import train
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


@pytest.mark.parametrize("training", [{"precision": "tf32"}, {"precision": "bf16"}])
def test_a_faster_precision_learns_the_same(training: dict[str, Any]) -> None:
    network = CNN([8], 16)
    assert alike(curve(network, "cuda", **training), curve(network, "cuda"), 0.03)


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
    worker = Worker(TrialContext(spec, splits(300, 100), tmp_path))
    gc.collect()
    torch.cuda.empty_cache()
    left = []
    for number in range(3):
        worker.take(Assignment(number, {}, Role.SEARCH))
        left.append(torch.cuda.memory_reserved())
        assert isinstance(worker.advance(), EpochReport)
        assert torch.cuda.memory_reserved() > left[0]
    assert left[1] == left[2]  # the data alone


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
