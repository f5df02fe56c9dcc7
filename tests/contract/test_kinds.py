"""What holds for every kind of data: one or several workers, resumed or not, exported."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from service.spec.model import SweepSpec
from tests.contract.kinds import KINDS
from tests.groups import Groups
from tests.specs import parse
from tests.trainings import same_state
from trainables.analysis.examine import examine
from trainables.analysis.export import export_network
from trainables.analysis.export_subject import gather_subject
from trainables.build import build_run
from trainables.data.datasets import load
from trainables.data.splits import Splits
from trainables.distributed.process import Process
from trainables.forward import call_network, read_outputs
from trainables.loop import TrainingRun, train
from trainables.run import EpochResult

HERE = "tests.contract.kinds"
REGULARISED = {"penalty": "l2", "lambda": 0.01, "dropout": 0.0}


def read(kind: str) -> tuple[SweepSpec, Splits]:
    found = KINDS[kind]
    spec = parse(
        data={"name": f"{HERE}:{found.data}", "allow_overlap": True, "test": 0},
        trainable=f"{HERE}:{found.network}",
        training={"max_epochs": 4, "batch_size": 16, "eval_batch_size": 9, "lr": 0.02}
        | found.training,
        early_stopping="off",
        confirm="off",
    )
    return spec, load(spec.data)


def begin(kind: str, process: Process | None = None, **params: Any) -> TrainingRun:
    spec, splits = read(kind)
    point = {**REGULARISED, **params}
    return build_run(spec, point, splits, baseline=False, device="cpu", process=process)


def curve(process: Process, kind: str) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Every epoch's metrics and the weights in the end."""
    run = begin(kind, process)
    return [dict(result.metrics) for result in train(run)], run.best_state


def resume(process: Process, kind: str, dropout: float) -> bool:
    """Whether a training that is broken off after two epochs goes on as an undisturbed one."""
    whole, parted = (begin(kind, process, dropout=dropout) for _ in range(2))
    expected = list(train(whole))
    results: list[EpochResult] = list(itertools.islice(train(parted), 2))
    buffer = io.BytesIO()
    torch.save(parted.state_dict(), buffer)
    buffer.seek(0)
    following = begin(kind, process, dropout=dropout)
    following.load_state_dict(torch.load(buffer, weights_only=True))
    results += train(following)
    return results == expected and same_state(following.best_state, whole.best_state)


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    made = Groups(2)
    yield made
    made.close()


every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_it_passes_the_examination_of_one_and_of_several_workers(kind: str) -> None:
    spec, splits = read(kind)
    run = build_run(spec, {}, splits, baseline=True, device="cpu")
    one, two = (examine(run, splits, workers) for workers in (1, 2))
    assert one.metrics == two.metrics
    assert {"train/loss", "val/loss", "gap/loss"} <= set(one.metrics)
    assert one.step_memory > two.step_memory > 0
    assert one.eval_memory > 0


@every_kind
def test_two_workers_have_the_losses_and_weights_of_one(groups: Groups, kind: str) -> None:
    expected, weights = curve(Process(), kind)
    assert expected[-1]["train/loss"] < expected[0]["train/loss"]
    for epochs, state in groups.run(2, curve, kind):
        for found, wanted in zip(epochs, expected, strict=True):
            assert found == pytest.approx(wanted, abs=1e-5, rel=1e-5)
        for name, value in weights.items():
            assert torch.allclose(state[name], value, atol=1e-5), name


@every_kind
def test_it_resumes_bit_for_bit(groups: Groups, kind: str) -> None:
    assert resume(Process(), kind, 0.3)
    assert groups.run(2, resume, kind, 0.3) == [True, True]


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.exports])
def test_its_network_is_exported_with_the_inputs_that_it_takes(kind: str, tmp_path: Path) -> None:
    run, (spec, splits) = begin(kind), read(kind)
    x, _ = run.data.val.head(5)
    with torch.no_grad():
        expected = read_outputs(call_network(run.model.eval(), x))
    subject = gather_subject(spec, {}, run, splits, None)
    assert export_network(subject, tmp_path, verify=False).reason == ""
    found = call_network(torch.export.load(tmp_path / "model.pt2").module(), x)
    torch.testing.assert_close(found, expected)
