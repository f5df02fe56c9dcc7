"""A step of the optimiser: of several batches, in half precision, of balanced samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from tests.rates import Net, begin, finish
from tests.trainings import curve, hand_over, run, splits
from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Training
from trainables.data.array_samples import ArraySamples
from trainables.data.balancing import Balance
from trainables.data.lazy import LazySplit, Loading, StreamSplit
from trainables.data.samples import Samples, count_batches, split_epoch
from trainables.data.splits import AnySplit, Split, Splits
from trainables.distributed.process import Process, Share
from trainables.errors import ContractError
from trainables.loop import TrainingRun, train
from trainables.models import MLP


def end(training: dict[str, Any], **reg: Any) -> tuple[list[dict[str, float]], nn.Module]:
    """Every epoch's metrics, and the trained network."""
    made = begin(Net(), training, **reg)
    return [dict(result.metrics) for result in finish(made)], made.model


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"clip_norm": 0.05},
        {"schedule": "one_cycle", "warmup_steps": 3},
        {"lambda_schedule": "warmup"},
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    ("small", "accumulate", "big"),
    [(5, 4, 20), (4, 4, 16), (1, 7, 7), (16, 8, 128), (25, 2, 50)],
)
def test_small_batches_make_the_step_of_one_big_one(
    small: int, accumulate: int, big: int, more: dict[str, Any]
) -> None:
    """60 samples: whole steps; a last one of fewer, or smaller, batches; all in one step."""
    reg = {"penalty": "l1", "lambda": 0.02, "gradient_noise": 0.01}
    whole, one = end({"batch_size": big, **more}, **reg)
    parts, other = end({"batch_size": small, "accumulate": accumulate, **more}, **reg)
    for expected, found in zip(whole, parts, strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


class Counting(Process):
    """Counts the batches whose gradients stay in the process, and those that are averaged."""

    def __init__(self) -> None:
        self.kept, self.begun = 0, 0

    def begin_step(self, share: Share) -> None:
        self.begun += 1

    @contextmanager
    def keep_gradients(self, network: nn.Module) -> Iterator[None]:
        self.kept += 1
        yield


def test_gradients_are_averaged_over_processes_once_a_step() -> None:
    process = Counting()
    settings = Training(max_epochs=2, batch_size=8, accumulate=3)
    run = build_training(MLP([4]), splits(60), settings, process=process)
    list(train(run))
    assert process.begun == 2 * 8
    assert process.begun - process.kept == run.steps == 2 * 3


def test_an_epoch_has_the_steps_that_are_asked_for() -> None:
    trainable = Net()
    made = begin(trainable, {"batch_size": 4, "accumulate": 3, "steps_per_epoch": 2})
    finish(made)
    assert trainable.steps_per_epoch == 2
    assert len(trainable.rates) == made.steps == 12


def test_schedules_count_steps_of_several_batches() -> None:
    trainable = Net()
    finish(begin(trainable, {"batch_size": 4, "accumulate": 4, "warmup_epochs": 1}))
    assert trainable.steps_per_epoch == 4  # of 15 batches
    assert [fast for _, fast in trainable.rates[:4]] == pytest.approx([0.025, 0.05, 0.075, 0.1])


def test_half_precision_learns_what_single_precision_learns() -> None:
    exact, rounded = curve({}, {}), curve({"precision": "fp16"}, {})
    assert rounded != exact
    for found, expected in zip(rounded, exact, strict=True):
        assert found["val/loss"] == pytest.approx(expected["val/loss"], rel=0.05)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_an_autocast_that_somebody_left_open_changes_nothing(precision: str) -> None:
    expected = curve({"precision": precision}, {})
    with torch.autocast("cpu", enabled=False):
        assert curve({"precision": precision}, {}) == expected


class Overflowing(Net):
    """Every third step has a gradient that half precision does not hold."""

    calls = 0

    def step(self, model: nn.Module, batch: Any) -> Any:
        self.calls += 1
        loss = super().step(model, batch)
        return loss * 1e34 if self.calls % 3 == 0 else loss


@pytest.mark.parametrize("penalty", ["l1", "l2", "group_lasso"])
def test_a_step_that_overflows_changes_nothing(penalty: str) -> None:
    """Neither weights, by the optimiser or a penalty, nor the place in a schedule."""
    trainable = Overflowing()
    training = {"precision": "fp16", "warmup_steps": 100, "lr": 0.05}
    made = begin(trainable, training, penalty=penalty, **{"lambda": 0.5, "ema": 0.5})
    seen: list[list[torch.Tensor]] = []
    step = made.stepper.step

    def watch(now: Any) -> bool:
        before = [p.detach().clone() for p in made.model.parameters()]
        scale = made.stepper.scaler.get_scale()
        taken = step(now)
        same = all(torch.equal(a, b) for a, b in zip(before, made.model.parameters(), strict=True))
        assert taken is not same
        assert made.stepper.scaler.get_scale() == (scale if taken else scale / 2)
        seen.append(before)
        return taken

    made.stepper.step = watch  # type: ignore[method-assign]  # watched, and otherwise the same
    finish(made)
    assert len(seen) == 24
    assert made.steps == len(trainable.rates) == 16
    assert [fast for _, fast in trainable.rates] == pytest.approx(
        [0.05 * (n + 1) / 100 for n in range(16)]
    )


class Steep(Net):
    """Its gradients overflow until the scale has been halved several times."""

    def step(self, model: nn.Module, batch: Any) -> Any:
        return 3e3 * super().step(model, batch)


@pytest.mark.parametrize("after", [1, 3])
def test_the_scale_of_the_loss_is_resumed(after: int) -> None:
    training = {"precision": "fp16", "lr": 1e-5}
    whole = begin(Steep(), training)
    expected = finish(whole)
    assert whole.steps < 24
    resumed = begin(Steep(), training)
    hand_over(begin(Steep(), training), resumed, after)
    assert list(train(resumed)) == expected[after:]
    assert resumed.steps == whole.steps
    assert resumed.stepper.scaler.get_scale() == whole.stepper.scaler.get_scale()


def test_a_users_scheduler_does_not_see_a_step_that_overflows() -> None:
    def make(optimizer: Any, _: int) -> Any:
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        return {"optimizer": optimizer, "scheduler": schedule, "interval": "step"}

    trainable = Overflowing(make)
    finish(begin(trainable, {"precision": "fp16"}))
    assert [fast for _, fast in trainable.rates] == pytest.approx([0.1 * 0.5**n for n in range(16)])


def rare(samples: int = 200) -> Splits:
    """A class of one in twenty, at the end of the rows."""
    rng = np.random.default_rng(0)
    x = rng.random((samples, 4), dtype=np.float32)
    y = (np.arange(samples) >= 0.95 * samples).astype(np.int64)
    part = Split(x, y)
    return Splits(part, part, None, DataInfo((4,), Task.CLASSIFICATION, 2, Kind.TABLE))


class Labelled(Dataset[Any]):
    def __init__(self, split: Split, *, targets: bool = True) -> None:
        self.x, self.y = torch.tensor(split.x), torch.tensor(split.y)
        if targets:
            self.targets = split.y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> Any:
        return self.x[index], self.y[index]


def read(split: AnySplit, **training: Any) -> TrainingRun:
    """A balanced training on these training samples."""
    data = rare()
    settings = Training.model_validate({"sampling": "balanced", "batch_size": 50, **training})
    return build_training(MLP([4]), Splits(split, data.val, None, data.info), settings)


def draw(samples: Samples, epochs: int = 40) -> tuple[float, float]:
    """The mean share of the rare class in epochs, and how often its mean sample came."""
    torch.manual_seed(0)
    drawn: list[torch.Tensor] = []
    for _ in range(epochs):
        plan = samples.plan(50, balanced=True)
        assert not isinstance(plan, int)
        assert [len(batch) for batch in plan] == [50] * 4
        drawn += plan
    counts = torch.bincount(torch.cat(drawn), minlength=200).double() / epochs
    assert (counts[190:] > 5).all()
    assert (counts[:190] < 1.2).all()
    return float(counts[190:].sum() / counts.sum()), float(counts[190:].mean())


@pytest.mark.parametrize("lazy", [False, True])
def test_balanced_sampling_draws_every_class_equally_often(lazy: bool) -> None:
    split = rare().train
    assert isinstance(split, Split)
    made = read(LazySplit("train", "mine:splits", Labelled(split)) if lazy else split)
    assert draw(made.data.train) == pytest.approx((0.5, 10.0), rel=0.05)


def test_balanced_sampling_draws_as_torchs_sampler_does() -> None:
    classes = np.array(["b", "a", "b", "b", "c", "b"])
    torch.manual_seed(0)
    balance = Balance.of(classes)
    ours = torch.bincount(torch.cat([balance.draw() for _ in range(5000)]), minlength=6) / 5000
    weights = [1 / (classes == c).sum() for c in classes]
    sampler = WeightedRandomSampler(weights, 30_000)
    theirs = torch.bincount(torch.tensor(list(sampler)), minlength=6) / 5000
    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=0.05)
    assert ours.tolist() == pytest.approx([0.5, 2, 0.5, 0.5, 2, 0.5], rel=0.05)


def test_the_gap_is_measured_on_the_datas_own_shares() -> None:
    data = rare()
    made = read(data.train, max_epochs=1, lr=0.05)
    (result,) = train(made)
    assert isinstance(data.train, Split)
    outputs, y = made.model.eval()(torch.tensor(data.train.x)), torch.tensor(data.train.y)
    losses = nn.functional.cross_entropy(outputs, y, reduction="none").detach()
    balanced = (losses[y == 0].mean() + losses[y == 1].mean()).detach() / 2
    assert abs(float(balanced - losses.mean())) > 0.01
    assert result.metrics["train/loss"] == pytest.approx(float(losses.mean()), rel=1e-5)
    assert result.metrics["gap/loss"] == pytest.approx(0.0, abs=1e-6)  # both are the same rows


def test_balanced_sampling_needs_classes() -> None:
    split = rare().train
    assert isinstance(split, Split)
    pairs = TensorDataset(torch.tensor(split.x), torch.tensor(split.y))
    sampler = WeightedRandomSampler([1.0] * 200, 200)
    sampled = LazySplit("train", "mine:splits", Labelled(split), Loading(sampler=sampler))
    unlabelled = LazySplit("train", "mine:splits", Labelled(split, targets=False))
    stream = StreamSplit("train", "mine:splits", DataLoader(pairs, batch_size=50))
    cases = {
        "let your sampler balance": [sampled, stream],
        "give a Dataset with `targets`": [unlabelled],
    }
    for words, kinds in cases.items():
        for kind in kinds:
            with pytest.raises(ContractError, match=words) as caught:
                read(kind)
            assert caught.value.where == "training.sampling"
    info = DataInfo((4,), Task.REGRESSION, 1, Kind.TABLE)
    part = Split(split.x, split.x[:, :1])
    with pytest.raises(ContractError, match="the task is regression"):
        build_training(MLP([4]), Splits(part, part, None, info), Training(sampling="balanced"))


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 16])
@pytest.mark.parametrize("drop_last", [True, False])
def test_batches_are_counted_as_they_are_made(samples: int, drop_last: bool) -> None:
    made = split_epoch(torch.arange(samples), 8, drop_last=drop_last)
    assert count_batches(samples, 8, drop_last=drop_last) == len(made)
    held = ArraySamples(Split(np.zeros((samples, 1)), np.zeros(samples, np.int64)), "cpu")
    assert held.count_batches(8, drop_last=drop_last) == len(made)


def test_a_stream_needs_its_steps_where_a_schedule_counts_them() -> None:
    part = splits().train
    assert isinstance(part, Split)
    pairs = TensorDataset(torch.tensor(part.x), torch.tensor(part.y))
    stream = StreamSplit("train", "mine:splits", DataLoader(pairs, batch_size=16))
    data = Splits(stream, splits().val, None, splits().info)
    for settings, where in (
        ({"schedule": "one_cycle"}, "training.schedule"),
        ({"warmup_epochs": 1}, "training.warmup_epochs"),
    ):
        with pytest.raises(ContractError, match=r"set training\.steps_per_epoch") as caught:
            build_training(MLP([4]), data, Training.model_validate(settings))
        assert caught.value.where == where
    known = Training.model_validate({"schedule": "one_cycle", "steps_per_epoch": 2})
    assert build_training(MLP([4]), data, known).trainable.steps_per_epoch == 2
    assert run().trainable.steps_per_epoch == 4
