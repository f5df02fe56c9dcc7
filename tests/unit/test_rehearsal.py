"""The steps and the evaluation that a training is rehearsed with, and the memory that they take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainings import same_state
from trainables.analysis.examine import Examination, examine
from trainables.analysis.last_batch import LastBatch, find_smallest
from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.splits import Split, Splits
from trainables.errors import ContractError

WIDTH, HIDDEN, OUTPUTS = 50, 400, 3
WEIGHTS = 4 * (WIDTH * HIDDEN + HIDDEN + HIDDEN * OUTPUTS + OUTPUTS)


class Net(Trainable):
    """Two layers; a third one normalises batches."""

    def __init__(self, norm: bool = False) -> None:
        self.norm = norm

    def build(self, info: DataInfo) -> nn.Module:
        norm = [nn.BatchNorm1d(HIDDEN)] if self.norm else []
        return nn.Sequential(
            nn.Linear(WIDTH, HIDDEN), *norm, nn.ReLU(), nn.Linear(HIDDEN, info.outputs)
        )


def splits(size: int) -> Splits:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(size + 40, WIDTH)).astype(np.float32), np.arange(size + 40) % OUTPUTS
    info = DataInfo((WIDTH,), Task.CLASSIFICATION, OUTPUTS, Kind.TABLE)
    return Splits(Split(x[:size], y[:size]), Split(x[size:], y[size:]), None, info)


def examined(
    size: int = 97,
    workers: int = 1,
    smallest: LastBatch | None = None,
    trainable: Trainable | None = None,
    **training: Any,
) -> Examination:
    data = splits(size)
    run = build_training(trainable or Net(), data, Training.model_validate(training))
    return examine(run, data, workers, smallest)


def count_activations(batch: int) -> int:
    """Inputs, targets, both hidden layers and the logits, in bytes; the ReLU's output is kept."""
    return batch * (4 * WIDTH + 8 + 4 * 2 * HIDDEN + 4 * OUTPUTS)


@pytest.mark.parametrize("size", [64, 640, 2560])
@pytest.mark.parametrize("batch", [8, 64])
def test_memory_is_that_of_a_step_whatever_the_size_of_the_data(size: int, batch: int) -> None:
    sgd = {"optimizer": {"name": "sgd", "momentum": 0.0}, "batch_size": batch}
    found = examined(size, eval_batch_size=16, **sgd)
    least = WEIGHTS + count_activations(batch)  # before the first gradient is complete
    assert least < found.step_memory < 2 * WEIGHTS + 1.6 * count_activations(batch)
    kept = 2 * WEIGHTS  # gradients stay until the next step
    assert kept + 16 * 4 * HIDDEN < found.eval_memory < kept + 1.6 * count_activations(16)


def test_memory_has_the_state_of_the_optimiser_after_a_real_step() -> None:
    plain, momentum, adam = (
        examined(128, batch_size=8, optimizer=optimizer)
        for optimizer in (
            {"name": "sgd", "momentum": 0.0},
            {"name": "sgd", "momentum": 0.9},
            "adam",
        )
    )
    assert momentum.step_memory - plain.step_memory == WEIGHTS
    counters = 4 * 4  # a number of steps for each parameter
    assert adam.step_memory - plain.step_memory == 2 * WEIGHTS + counters
    assert adam.eval_memory - plain.eval_memory == 2 * WEIGHTS + counters


def test_memory_of_an_evaluation_follows_its_batch() -> None:
    found = [examined(64, eval_batch_size=size).eval_memory for size in (8, 32)]
    assert found[1] - found[0] > 24 * 4 * HIDDEN


def test_a_worker_has_its_part_of_a_batch() -> None:
    one, two = (examined(640, workers, batch_size=256) for workers in (1, 2))
    half = count_activations(128)
    assert half < one.step_memory - two.step_memory < 1.6 * half


def test_the_training_itself_is_untouched() -> None:
    data = splits(97)
    run = build_training(Net(norm=True), data, Training(batch_size=16, drop_last=True))
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    generator = torch.get_rng_state()
    examine(run, data)
    assert same_state(run.model.state_dict(), before)
    assert not run.parts.optimizer.state
    assert torch.equal(torch.get_rng_state(), generator)


LAST_OF_ONE = r"the last batch of an epoch, which has 1 of 97 samples with batch_size 16"


def test_a_last_batch_of_one_and_a_batch_norm_are_refused_with_what_to_do() -> None:
    with pytest.raises(ContractError, match=LAST_OF_ONE) as caught:
        examined(trainable=Net(norm=True), batch_size=16)
    assert caught.value.where == "training.batch_size"
    assert "Expected more than 1 value per channel" in str(caught.value)
    assert str(caught.value).endswith(
        "set `training.drop_last: true`, or choose a batch_size that leaves more, such as 17"
    )
    assert examined(trainable=Net(norm=True), batch_size=17).steps == 6
    assert examined(trainable=Net(norm=True), batch_size=16, drop_last=True).steps == 6
    assert examined(batch_size=16).steps == 7


def test_the_smallest_batch_of_any_trial_counts() -> None:
    other = find_smallest([78, 79], range(8, 14))
    assert other == LastBatch(1, 78, 11)
    with pytest.raises(ContractError, match="1 of 78 samples with batch_size 11") as caught:
        examined(smallest=other, trainable=Net(norm=True), batch_size=17)
    assert caught.value.where == "space.batch_size"


@pytest.mark.parametrize(
    ("samples", "sizes", "drop", "smallest"),
    [
        ([97], [16], False, LastBatch(1, 97, 16)),
        ([97], [16], True, LastBatch(16, 97, 16)),
        ([96], [16], False, LastBatch(16, 96, 16)),
        ([5], [16, 64], True, LastBatch(5, 5, 16)),
        ([100, 97], [32, 24], False, LastBatch(1, 97, 24)),
    ],
)
def test_the_smallest_batch(
    samples: list[int], sizes: list[int], drop: bool, smallest: LastBatch
) -> None:
    assert find_smallest(samples, sizes, drop_last=drop) == smallest


class PartNorm(Net):
    """Its own normalisation takes the statistics of a worker's part alone."""

    def build(self, info: DataInfo) -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, 8), Standardise(), nn.Linear(8, info.outputs))


class Standardise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) < 2:
            raise ValueError("one sample has no variance")
        return (x - x.mean(0)) / (x.std(0) + 1e-5)


def test_the_smallest_part_of_a_worker_counts() -> None:
    """99 samples in batches of 16: the last one has 3, of which two workers have 2 and 1."""
    assert examined(99, 1, trainable=PartNorm(), batch_size=16).steps == 7
    with pytest.raises(ContractError, match=r"3 of 99 samples .*, 1 of them on a worker: .*no var"):
        examined(99, 2, trainable=PartNorm(), batch_size=16)


def test_a_batch_norm_has_the_statistics_of_all_workers() -> None:
    assert examined(99, 2, trainable=Net(norm=True), batch_size=16).steps == 7
    with pytest.raises(ContractError, match="1 of 97 samples"):  # too few for two workers
        examined(97, 2, trainable=Net(norm=True), batch_size=16)


class Closing(Net):
    def optimizer(
        self, parameters: Iterable[nn.Parameter], training: Training
    ) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(parameters, lr=training.lr)


class NeedsClosure(torch.optim.SGD):
    """Its closure may be left out by its signature, but not by its code."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure) or closure()


class Optional(Net):
    def optimizer(
        self, parameters: Iterable[nn.Parameter], training: Training
    ) -> torch.optim.Optimizer:
        return NeedsClosure(parameters, lr=training.lr)


def test_an_optimiser_that_needs_a_closure_is_refused() -> None:
    with pytest.raises(ContractError, match=r"LBFGS\.step needs closure, .* such as adamw"):
        examined(trainable=Closing())
    with pytest.raises(ContractError, match=r"LBFGS\.step needs closure"):
        examined(optimizer={"name": "torch.optim:LBFGS"})
    with pytest.raises(ContractError, match="first training step raised TypeError: 'NoneType'"):
        examined(trainable=Optional())


class Third(Net):
    """Fails in its third step, and returns NaN on small batches."""

    def __init__(self, fails: int, message: str = "") -> None:
        super().__init__()
        self.fails, self.steps = fails, 0

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        self.steps += 1
        if self.steps == self.fails:
            raise RuntimeError("no more")
        scale = float("nan") if len(batch) == 1 else 1.0
        return scale * super().step(model, batch)


def test_what_only_some_steps_do_is_found() -> None:
    with pytest.raises(ContractError, match=r"third training step raised RuntimeError: no more \("):
        examined(trainable=Third(3), batch_size=17)
    with pytest.raises(ContractError, match=r"1 of 97 samples .*: the loss is nan; set"):
        examined(trainable=Third(0), batch_size=16)
