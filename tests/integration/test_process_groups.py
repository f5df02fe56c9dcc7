"""A training shared by several processes computes what one process would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._dynamo.utils import counters

from tests.groups import Groups
from tests.rates import curve as rated_curve
from tests.specs import parse
from tests.trainings import splits
from trainables.build import build_run, build_training
from trainables.config.data_info import DataInfo
from trainables.config.regularisers import read_regularisers
from trainables.config.stopping import Patience
from trainables.config.training import Training, scale_for_workers
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.distributed.process import Process
from trainables.loop import train
from trainables.models import CNN
from trainables.regularisers.base import Regulariser

CASES = [
    *((network, 2, sizes) for network in ("cnn", "normed") for sizes in ((60, 30), (61, 23))),
    ("cnn", 4, (2, 5)),
    ("cnn", 4, (51, 7)),
    ("normed", 4, (3, 3)),
]
"""Network, ranks, and the sizes of the training and the validation split: even, uneven, a last
batch and a whole data set of fewer samples than ranks. No batch of two: a norm over two passes no
gradient but rounding on."""


class Normed(Trainable):
    """A network with a batch norm for each kind of input.

    No bias before a norm: its gradient is zero but for rounding, which Adam makes steps of.
    """

    def build(self, info: DataInfo) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 8, bias=False),
            nn.BatchNorm1d(8, momentum=None),
            nn.ReLU(),
            nn.Linear(8, info.outputs),
        )


class Skipping(Trainable):
    """A network that leaves out a layer in some steps, as one process may."""

    def build(self, info: DataInfo) -> nn.Module:
        return Branching(info.outputs)


class Branching(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.calls = 0
        self.usual, self.other = nn.Linear(16, outputs), nn.Linear(16, outputs)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        outputs: Tensor = self.usual(x.flatten(1))
        return outputs + self.other(x.flatten(1)) if self.calls % 2 else outputs


NETWORKS: dict[str, Trainable] = {
    "cnn": CNN([4], 8),
    "normed": Normed(),
    "skipping": Skipping(),
}


def curve(
    process: Process,
    network: str,
    sizes: tuple[int, int],
    training: dict[str, Any],
    regularisation: dict[str, Any],
    patience: int = 50,
) -> tuple[list[dict[str, float]], dict[str, float], dict[str, Tensor]]:
    """Every epoch's metrics, the outcome and the weights of a whole training."""
    run = build_training(
        NETWORKS[network],
        splits(*sizes),
        Training(**{"max_epochs": 5, "batch_size": 16, "lr": 0.02, **training}),
        read_regularisers(regularisation),
        Patience(patience=patience),
        process=process,
    )
    epochs = [dict(result.metrics) for result in train(run)]
    return epochs, run.best_metrics(), dict(run.model.state_dict())


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    made = Groups(4, __name__, "torchmetrics")
    yield made
    made.close()


def same(found: Any, expected: Any, tolerance: float = 1e-5) -> bool:
    return len(found) == len(expected) and all(
        a == pytest.approx(b, abs=tolerance, rel=tolerance)
        for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize(("network", "world", "sizes"), CASES)
def test_a_group_has_the_curve_the_gap_and_the_weights_of_one(
    groups: Groups, network: str, world: int, sizes: tuple[int, int]
) -> None:
    expected, outcome, weights = curve(Process(), network, sizes, {}, {})
    for epochs, ended, state in groups.run(world, curve, network, sizes, {}, {}):
        assert same(epochs, expected)
        assert ended == pytest.approx(outcome, abs=1e-5)
        for name, value in weights.items():
            assert torch.allclose(state[name], value, atol=1e-5), name


def check_alike(groups: Groups, network: str, training: Any, regularisation: Any) -> None:
    """Two ranks have the same weights to the last bit, and the curve that one process has."""
    arguments = (network, (61, 23), training, regularisation)
    expected, _, _ = curve(Process(), *arguments)
    first, second = groups.run(2, curve, *arguments)
    assert same(first[0], expected, 2e-5)
    assert all(torch.equal(first[2][k], second[2][k]) for k in first[2])


@pytest.mark.parametrize(
    "regularisation",
    [
        {"penalty": "l1", "lambda": 0.05},
        {"penalty": "l2", "lambda": 0.05},
        {"penalty": "group_lasso", "lambda": 0.05},
        {"max_norm": 0.5, "gradient_noise": 0.05},
    ],
)
@pytest.mark.parametrize("updates", [{}, {"l1_update": "subgradient", "l2_update": "coupled"}])
def test_a_penalty_acts_once_however_many_workers_there_are(
    groups: Groups, regularisation: dict[str, Any], updates: dict[str, Any]
) -> None:
    check_alike(groups, "cnn", updates, regularisation)


@pytest.mark.parametrize("network", ["cnn", "normed"])
@pytest.mark.parametrize("average", [{"ema": 0.9}, {"swa": 0.5}])
def test_an_average_of_the_weights_is_the_same_on_every_rank(
    groups: Groups, network: str, average: dict[str, float]
) -> None:
    check_alike(groups, network, {}, average)


class OnOneRank(Regulariser):
    """Changes the batches of the second process alone."""

    def on_batch(self, batch: Batch) -> Batch:
        alone = dist.get_rank() == 1
        return replace(batch, x=batch.x + 0.1) if alone else batch


def list_idle(process: Process, own: str, regularisation: dict[str, Any]) -> tuple[str, ...]:
    """What a training of two epochs says of its parts."""
    spec = parse(
        regularisers={"mine": {"name": f"{__name__}:{own}"}},
        training={"max_epochs": 2, "batch_size": 16},
        early_stopping="off",
    )
    run = build_run(spec, regularisation, splits(), baseline=False, device="cpu", process=process)
    for _ in train(run):
        pass
    return run.list_idle()


def test_a_part_is_idle_only_if_it_is_in_every_process(groups: Groups) -> None:
    idle = {"max_norm": 1e6}
    assert groups.run(2, list_idle, "OnOneRank", idle) == [("max_norm",)] * 2
    assert groups.run(2, list_idle, "Nothing", idle) == [("max_norm", "mine")] * 2


class Nothing(Regulariser):
    """Changes no batch."""

    def on_batch(self, batch: Batch) -> Batch:
        return batch


METRICS = [
    {"path": "torchmetrics.classification:MulticlassF1Score", "name": "f1", "num_classes": 2},
    {"path": "torchmetrics.functional:recall", "task": "multiclass", "num_classes": 2}
    | {"average": "macro"},
]


@pytest.mark.parametrize("sizes", [(61, 23), (9, 3)])
def test_a_metric_of_the_whole_split_is_that_of_one_process(
    groups: Groups, sizes: tuple[int, int]
) -> None:
    training = {"metrics": METRICS}
    expected, _, _ = curve(Process(), "cnn", sizes, training, {})
    assert {"val/f1", "val/recall"} <= set(expected[0])
    for world in (2, 4):
        for epochs, _, _ in groups.run(world, curve, "cnn", sizes, training, {}):
            assert same(epochs, expected)


def test_a_group_computes_in_bf16(groups: Groups) -> None:
    arguments = ("normed", (61, 23), {"precision": "bf16"}, {})
    expected, _, _ = curve(Process(), *arguments)
    for epochs, _, _ in groups.run(2, curve, *arguments):
        assert epochs[-1]["val/loss"] == pytest.approx(expected[-1]["val/loss"], rel=0.1)


def compiled_graphs(process: Process, trials: list[dict[str, Any]]) -> list[int]:
    """How many graphs torch has compiled after each trial."""
    counters.clear()
    found = []
    for regularisation in trials:
        curve(process, "cnn", (61, 23), {"compile": True}, regularisation)
        found.append(counters["stats"]["unique_graphs"])
    return found


@pytest.mark.compiler
def test_a_group_compiles_for_its_first_trial_only(groups: Groups) -> None:
    trials = [{}, {"penalty": "l1", "lambda": 0.1}, {"dropout": 0.4, "lambda": 0.01}]
    for graphs in groups.run(2, compiled_graphs, trials):
        assert graphs[0] > 0
        assert len(set(graphs)) == 1


def test_a_layer_that_a_step_leaves_out_is_left_out_in_a_group(groups: Groups) -> None:
    arguments = ("skipping", (61, 23), {}, {})
    expected, _, _ = curve(Process(), *arguments)
    for epochs, _, _ in groups.run(2, curve, *arguments):
        assert same(epochs, expected)


@pytest.mark.parametrize(
    ("make", "training"),
    [
        ("spec", {"schedule": "one_cycle", "batch_size": 5, "accumulate": 3}),
        ("spec", {"schedule": {"name": "plateau", "patience": 0, "threshold": 0.2}}),
        ("spec", {"warmup_epochs": 1, "sampling": "balanced"}),
        ("spec", {"warmup_steps": 3, "batch_size": 3, "accumulate": 50}),
        ("fall", {"batch_size": 1, "accumulate": 7, "clip_norm": 0.1}),
        ("cycle", {"drop_last": True}),
    ],
)
def test_schedules_and_steps_of_several_batches_are_those_of_one_process(
    groups: Groups, make: str, training: dict[str, Any]
) -> None:
    arguments = (make, training, {"penalty": "l1", "lambda": 0.02})
    expected, weights, rates = rated_curve(Process(), *arguments)
    for epochs, state, own in groups.run(2, rated_curve, *arguments):
        assert same(epochs, expected)
        assert all(torch.allclose(state[k], v, atol=1e-5) for k, v in weights.items())
        assert own == rates


def test_a_layer_that_the_last_batch_of_a_step_leaves_out_is_trained(groups: Groups) -> None:
    arguments = ("skipping", (64, 23), {"batch_size": 4, "accumulate": 2}, {})
    expected, _, weights = curve(Process(), *arguments)
    for epochs, _, state in groups.run(2, curve, *arguments):
        assert same(epochs, expected)
        assert all(torch.allclose(state[k], v, atol=1e-5) for k, v in weights.items())


def test_a_group_skips_steps_that_overflow_in_half_precision(groups: Groups) -> None:
    arguments = ("spec", {"precision": "fp16", "accumulate": 2, "batch_size": 8}, {})
    expected, _, rates = rated_curve(Process(), *arguments)
    first, second = groups.run(2, rated_curve, *arguments)
    assert first[0] == second[0]
    assert all(torch.equal(first[1][k], second[1][k]) for k in first[1])
    assert first[2] == rates
    assert first[0][-1]["val/loss"] == pytest.approx(expected[-1]["val/loss"], rel=0.1)


def test_every_rank_stops_early_at_the_same_epoch_with_the_same_weights(groups: Groups) -> None:
    arguments = ("cnn", (61, 23), {"max_epochs": 40, "lr": 0.3}, {"dropout": 0.3}, 2)
    ranks = groups.run(2, curve, *arguments)
    ends = {len(epochs) for epochs, _, _ in ranks}
    assert len(ends) == 1
    assert ends.pop() < 40
    first = ranks[0]
    for rank in ranks[1:]:
        assert rank[:2] == first[:2]
        assert all(torch.equal(rank[2][k], first[2][k]) for k in first[2])


def draws(process: Process) -> list[float]:
    torch.manual_seed(0)
    process.seed_rank(7, 1)
    return torch.rand(3).tolist()


def test_every_rank_draws_its_own_dropout_and_the_first_that_of_one_alone(groups: Groups) -> None:
    ranks = groups.run(2, draws)
    assert ranks[0] != ranks[1]
    assert ranks[0] == draws(Process())
    assert ranks == groups.run(2, draws)


def shares(process: Process, size: int) -> tuple[list[int], float]:
    share = process.share(torch.arange(size))
    return share.samples.tolist(), share.weight


@pytest.mark.parametrize("size", [16, 17, 5, 4])
def test_every_sample_is_seen_by_one_rank(groups: Groups, size: int) -> None:
    parts = groups.run(4, shares, size)
    assert sorted(sample for part, _ in parts for sample in part) == list(range(size))
    assert sum(weight for _, weight in parts) == pytest.approx(4)
    assert max(len(p) for p, _ in parts) - min(len(p) for p, _ in parts) <= 1


def test_a_batch_smaller_than_the_group_is_everybodys(groups: Groups) -> None:
    assert groups.run(4, shares, 3) == [([0, 1, 2], 1.0)] * 4


@pytest.mark.parametrize(
    ("rule", "batch_size", "lr"), [("none", 16, 0.1), ("linear", 64, 0.4), ("sqrt", 64, 0.2)]
)
def test_batch_and_rate_grow_with_the_workers_only_when_asked(
    rule: Any, batch_size: int, lr: float
) -> None:
    got = scale_for_workers(Training(batch_size=16, lr=0.1, scale_lr=rule), 4)
    assert (got.batch_size, got.lr) == (batch_size, pytest.approx(lr))
    alone = Training(batch_size=16, lr=0.1, scale_lr=rule)
    assert scale_for_workers(alone, 1) == alone


def test_a_scaled_training_is_that_of_one_process_with_the_larger_batch(groups: Groups) -> None:
    asked = {"batch_size": 16, "lr": 0.01, "scale_lr": "linear"}
    expected, _, _ = curve(Process(), "cnn", (61, 23), {"batch_size": 32, "lr": 0.02}, {})
    for epochs, _, _ in groups.run(2, curve, "cnn", (61, 23), asked, {}):
        assert same(epochs, expected)
