"""The contract, over our trainables and networks of users', each task and kind of input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.contract.checks import CHECKS, Check, begin, train
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.data.splits import Split, Splits
from trainables.loading import load_trainable
from trainables.regularisers.dropout import find_dropout

MINE = "tests.contract.networks"
CASES = [
    ("trainables.models:MLP", {"hidden": [16]}, Kind.IMAGE, Task.CLASSIFICATION),
    (
        "trainables.models:CNN",
        {"channels": [4, 4], "hidden": 8},
        Kind.IMAGE,
        Task.CLASSIFICATION,
    ),
    ("trainables.models:MLP", {"hidden": [16]}, Kind.TABLE, Task.CLASSIFICATION),
    ("trainables.models:MLP", {"hidden": [16]}, Kind.TABLE, Task.REGRESSION),
    ("trainables.models:MLP", {"hidden": [16]}, Kind.TABLE, Task.MULTILABEL),
    (f"{MINE}:Plain", {"width": 12}, Kind.TABLE, Task.CLASSIFICATION),
    (f"{MINE}:Plain", {}, Kind.TABLE, Task.MULTILABEL),
    (f"{MINE}:selu", {}, Kind.IMAGE, Task.CLASSIFICATION),
    (f"{MINE}:selu", {}, Kind.TABLE, Task.REGRESSION),
]


def learnable(kind: Kind, task: Task) -> Splits:
    rng = np.random.default_rng(0)
    shape = (1, 6, 6) if kind is Kind.IMAGE else (8,)
    x = rng.normal(size=(96, *shape)).astype(np.float32)
    signal = x.reshape(96, -1)[:, :2]
    made = {
        Task.CLASSIFICATION: ((signal[:, 0] > 0).astype(np.int64), 2),
        Task.MULTILABEL: ((signal > 0).astype(np.float32), 2),
        Task.REGRESSION: (signal[:, :1] * 2, 1),
    }
    y, outputs = made[task]
    info = DataInfo(shape, task, outputs, kind)
    return Splits(Split(x[:64], y[:64]), Split(x[64:], y[64:]), None, info)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("path", "arguments", "kind", "task"), CASES)
def test_the_contract(
    path: str, arguments: dict[str, object], kind: Kind, task: Task, check: Check
) -> None:
    check(load_trainable(path, arguments), learnable(kind, task))


@pytest.mark.parametrize(("path", "arguments", "kind", "task"), CASES)
def test_every_case_has_a_dropout_layer_whose_rate_can_be_checked(
    path: str, arguments: dict[str, object], kind: Kind, task: Task
) -> None:
    model = begin(load_trainable(path, arguments), learnable(kind, task)).model
    assert find_dropout(model)


def test_a_users_loss_and_metric_by_import_path() -> None:
    splits = learnable(Kind.TABLE, Task.REGRESSION)
    worst = {"path": f"{MINE}:worst", "higher_is_better": False}
    training = {"loss": f"{MINE}:smooth_l1", "metrics": [worst]}
    *_, last = train(begin(load_trainable(f"{MINE}:Plain", {}), splits, training))
    metrics = last.metrics
    assert metrics["gap/worst"] == pytest.approx(metrics["val/worst"] - metrics["train/worst"])
    huber = {"loss": "torch.nn:SmoothL1Loss"}
    *_, same = train(begin(load_trainable(f"{MINE}:Plain", {}), splits, huber))
    assert same.metrics["val/loss"] == pytest.approx(metrics["val/loss"])


@pytest.mark.parametrize("part", ["OwnStep", "OwnOptimizer", "OwnMetrics", "OwnLosses"])
def test_a_subclass_overrides_one_part_and_leaves_the_rest(part: str) -> None:
    splits = learnable(Kind.TABLE, Task.CLASSIFICATION)
    arguments = {"hidden": [16]}
    ours = begin(load_trainable("trainables.models:MLP", arguments), splits)
    theirs = begin(load_trainable(f"tests.contract.parts:{part}", arguments), splits)
    *_, expected = train(ours)
    *_, found = train(theirs)
    val, usual = found.metrics["val/loss"], expected.metrics["val/loss"]
    match part:
        case "OwnStep":
            outputs, usually = (
                r.model(r.data.val.x).square().mean().item() for r in (theirs, ours)
            )
            assert outputs < usually
        case "OwnOptimizer":
            assert isinstance(theirs.parts.optimizer, torch.optim.RMSprop)
            assert val != usual
        case "OwnMetrics":
            largest = theirs.model(theirs.data.val.x).abs().amax(1).mean().item()
            assert found.metrics["val/largest"] == pytest.approx(largest, rel=1e-5)
            assert "gap/largest" in found.metrics
            assert val == usual
        case "OwnLosses":
            theirs.model.load_state_dict(ours.best_state)
            outputs = theirs.model(theirs.data.val.x)
            doubled = theirs.trainable.losses(outputs, theirs.data.val.y)
            assert torch.equal(doubled, 2 * ours.trainable.losses(outputs, theirs.data.val.y))
            assert val != usual
