"""Averages of the weights: when they begin, at which rate, and the statistics of their norms."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import Dataset, IterableDataset

from tests.specs import parse
from tests.trainings import hand_over, run, same_state, splits
from trainables.build import build_run, build_training
from trainables.config.data_info import DataInfo
from trainables.config.regularisers import read_regularisers
from trainables.config.stopping import Patience
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.array_samples import ArraySamples
from trainables.data.batch import Batch
from trainables.data.datasets import load
from trainables.data.splits import Splits
from trainables.loop import TrainingRun, train
from trainables.models import MLP
from trainables.run import EpochResult

SHARE = 0.25


class Normed(Trainable):
    """A network with a batch norm, and one that it keeps out of training; counts its steps."""

    def __init__(self, dropout: float = 0.0) -> None:
        self.dropout, self.steps = dropout, 0

    def build(self, info: DataInfo) -> nn.Module:
        frozen = Frozen(8)
        frozen.running_mean = torch.full((8,), 0.1)
        layers = [nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), frozen]
        return nn.Sequential(*layers, nn.Dropout(self.dropout), nn.Linear(8, info.outputs))

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        self.steps += 1
        return super().step(model, batch)


class Frozen(nn.BatchNorm1d):
    """A norm with fixed statistics."""

    def train(self, mode: bool = True) -> Frozen:
        super().train(False)
        return self


def normed(
    training: dict[str, Any] | None = None,
    data: Splits | None = None,
    patience: int | None = None,
    dropout: float = 0.0,
    **reg: Any,
) -> TrainingRun:
    """A training of the network with norms before its first step."""
    settings = Training(**{"max_epochs": 4, "batch_size": 16, "lr": 0.05, **(training or {})})
    stop = None if patience is None else Patience(patience=patience)
    return build_training(Normed(dropout), data or splits(), settings, read_regularisers(reg), stop)


def find_average(run: TrainingRun) -> nn.Module:
    """The averaged network."""
    assert run.evaluated is not run.model
    return run.evaluated


def stopped(swa: float = SHARE, **training: Any) -> tuple[int, list[EpochResult], TrainingRun]:
    """When early stopping ends a training, and the same training with SWA."""
    options = {"max_epochs": 40, "lr": 0.3, "schedule": "constant", "swa_lr_share": 0.5, **training}
    plain = list(train(run(2, options)))
    assert len(plain) < 30
    averaged = run(2, options, swa=swa)
    return len(plain), list(train(averaged)), averaged


def test_swa_begins_where_early_stopping_would_end_and_runs_its_share() -> None:
    end, results, averaged = stopped()
    assert len(results) == end + max(2, round(SHARE * end / (1 - SHARE)))
    assert [r.done for r in results] == [False] * (len(results) - 1) + [True]
    assert [r.metrics["lr"] for r in results] == pytest.approx(
        [0.3] * end + [0.15] * (len(results) - end)
    )
    assert averaged.best_metrics()["epoch"] <= len(results)


def test_swa_begins_in_the_last_epochs_where_nothing_stops() -> None:
    averaged = run(None, {"max_epochs": 8, "lr": 0.02}, swa=SHARE)
    results = list(train(averaged))
    assert len(results) == 8
    rates = [r.metrics["lr"] for r in results]
    assert rates[6:] == pytest.approx([0.02, 0.02])
    assert rates[5] == pytest.approx(0.02 * 0.5 * (1 + np.cos(np.pi * 5 / 8)))
    assert averaged.list_idle() == ()


def test_the_mean_is_of_the_weights_after_each_of_its_epochs() -> None:
    averaged = run(None, {"max_epochs": 8}, swa=0.5)
    seen = []
    for result in train(averaged):
        if not result.done:  # after the last one, the kept weights are in the model
            seen.append({k: v.clone() for k, v in averaged.model.state_dict().items()})
        if result.epoch == 7:
            mean = find_average(averaged).state_dict()
            for name, value in mean.items():
                wanted = torch.stack([s[name] for s in seen[4:]]).mean(0)
                assert torch.allclose(value, wanted, atol=1e-6), name
    assert len(seen) == 7


def test_a_cycle_falls_to_a_tenth_and_only_its_end_is_averaged() -> None:
    averaged = run(None, {"max_epochs": 8, "lr": 0.1, "swa_cycle": 2}, swa=0.5)
    ends = []
    for result in train(averaged):
        if result.epoch in (6, 8) and not result.done:
            ends.append({k: v.clone() for k, v in averaged.model.state_dict().items()})
        if result.epoch >= 5:
            rate = 0.1 * (0.55 if result.epoch % 2 else 0.1)
            assert result.metrics["lr"] == pytest.approx(rate)
        if result.epoch == 7:
            assert same_state(dict(find_average(averaged).state_dict()), ends[0])


def test_early_stopping_judges_the_average_and_keeps_the_better_weights() -> None:
    """The kept weights have the best validation loss of all epochs, be they averaged or not."""
    _, results, averaged = stopped()
    best = min(results, key=lambda r: r.metrics["val/loss"])
    assert averaged.best_metrics()["epoch"] == best.epoch
    assert averaged.best_metrics()["val/loss"] == best.metrics["val/loss"]


@pytest.mark.parametrize("lr_share", [0.01, 8.0])
def test_swa_acted_where_an_average_of_several_weights_is_kept(lr_share: float) -> None:
    end, _, averaged = stopped(swa_lr_share=lr_share)
    kept = averaged.best_metrics()["epoch"]
    assert ("averaging" in averaged.list_idle()) == (kept < end + 2)


def test_a_training_with_swa_is_resumed_after_any_epoch() -> None:
    options: dict[str, Any] = {"patience": 1, "training": {"max_epochs": 20, "lr": 0.3}}
    whole = normed(**options, swa=0.3, dropout=0.2)
    expected = list(train(whole))
    assert 4 < len(expected) < 20
    for after in range(1, len(expected)):
        first, second = (normed(**options, swa=0.3, dropout=0.2) for _ in range(2))
        hand_over(first, second, after)
        assert list(train(second)) == expected[after:]
        assert same_state(whole.best_state, second.best_state)
        assert whole.list_idle() == second.list_idle()


def test_the_statistics_of_norms_are_those_of_update_bn() -> None:
    averaged = normed({"batch_size": 60}, swa=0.5)  # one batch: its order does not matter
    for _ in train(averaged):
        pass
    found = {k: v.clone() for k, v in find_average(averaged).state_dict().items()}
    theirs = find_average(averaged)
    assert isinstance(averaged.data.train, ArraySamples)
    x, _ = averaged.data.train.head(60)
    update_bn([x], theirs)
    for name, value in theirs.state_dict().items():
        if not name.startswith("4."):  # update_bn resets what the network keeps as it is
            assert torch.allclose(found[name], value, atol=1e-6), name
    assert torch.equal(found["4.running_mean"], torch.full((8,), 0.1))
    assert not torch.allclose(found["2.running_mean"], averaged.model[2].running_mean + 1e-3)  # type: ignore[index,operator,union-attr]  # a Sequential
    assert not theirs.training
    assert theirs[2].momentum == 0.1  # type: ignore[index,union-attr]  # a Sequential


def test_averaged_statistics_would_be_others() -> None:
    found = []
    for recomputes in (True, False):
        averaged = normed(swa=0.5)
        (average,) = averaged.parts.regularisers.all
        average.recomputes_norms = recomputes
        found.append([r.metrics for r in train(averaged)])
    again, before = found
    assert [m["val/loss"] for m in again[:2]] == [m["val/loss"] for m in before[:2]]
    assert again[3]["val/loss"] != before[3]["val/loss"]
    # the training itself does not notice: its random numbers and weights are the same
    running = [[m["train_running/loss"] for m in metrics] for metrics in found]
    assert running[0] == running[1]


def count_steps(averaged: TrainingRun) -> int:
    for _ in train(averaged):
        pass
    assert isinstance(averaged.trainable, Normed)
    return averaged.trainable.steps


def test_statistics_are_computed_only_where_an_average_is_measured() -> None:
    batches = 4  # of 60 samples, 16 in each
    plain, swa = count_steps(normed()), count_steps(normed(swa=0.5))
    assert (plain, swa) == (4 * batches, 4 * batches + 2 * batches)
    bounded = {"steps_per_epoch": 1}
    assert count_steps(normed(bounded, swa=0.5)) == 4 + 2


class Uphill(Normed):
    """A step that asks for gradients of the weights, as sharpness-aware minimisation does."""

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        loss = super().step(model, batch)
        gradients = torch.autograd.grad(loss, [*model.parameters()], create_graph=True)
        return loss + 0.01 * sum((g.square().sum() for g in gradients), torch.zeros(()))


def test_a_step_may_ask_for_gradients() -> None:
    swa = read_regularisers({"swa": 0.5})
    averaged = build_training(Uphill(), splits(), Training(max_epochs=4, batch_size=16), swa)
    assert [r.done for r in train(averaged)] == [False] * 3 + [True]
    kept = find_average(averaged).parameters()
    assert not any(p.requires_grad or p.grad is not None for p in kept)


class Counting(MLP):
    """Has no batch norm."""

    calls = 0

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        self.calls += 1
        return super().step(model, batch)


def test_networks_without_batch_norm_pay_nothing() -> None:
    trainable = Counting([8])
    settings = Training(max_epochs=4, batch_size=16)
    swa = read_regularisers({"swa": 0.5})
    for _ in train(build_training(trainable, splits(), settings, swa)):
        pass
    assert trainable.calls == 4 * 4


N, VAL = 44, 12
X = torch.randn(N + VAL, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
READ = {"rows": 0}


class Rows(Dataset[tuple[Any, Tensor]]):
    """Rows read one by one, with inputs that are a dict."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Any, Tensor]:
        return {"x": X[index]}, Y[index]


class Endless(IterableDataset[tuple[Any, Tensor]]):
    """The same rows without an end; counts them."""

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        for index in itertools.cycle(range(N)):
            READ["rows"] += 1
            yield {"x": X[index]}, Y[index]


def arrays() -> Any:
    return {"train": ({"x": X[:N]}, Y[:N]), "val": ({"x": X[N:]}, Y[N:])}


def lazy() -> Any:
    return {**arrays(), "train": Rows()}


def endless() -> Any:
    return {**arrays(), "train": Endless()}


class Named(nn.Module):
    """Takes its inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Any:
        return self.layers(x)


def named(data: str, **training: Any) -> TrainingRun:
    """A training on nested inputs before its first step."""
    spec = parse(
        data={"name": f"{__name__}:{data}", "test": 0, "allow_overlap": True},
        trainable=f"{__name__}:Named",
        training={"max_epochs": 4, "batch_size": 8, "lr": 0.01, **training},
        early_stopping="off",
        confirm="off",
    )
    return build_run(spec, {"swa": 0.5}, load(spec.data), baseline=False, device="cpu")


def test_statistics_of_nested_batches_that_are_read_are_those_of_arrays() -> None:
    found = [list(train(named(data))) for data in ("arrays", "lazy")]
    assert found[0] == found[1]
    averaged = named("lazy")
    (average,) = averaged.parts.regularisers.all
    average.recomputes_norms = False
    assert list(train(averaged)) != found[1]


def test_a_stream_gives_a_bounded_number_of_batches() -> None:
    averaged = named("endless", steps_per_epoch=3)
    read = []
    for _ in train(averaged):
        read.append(READ["rows"])
    per_epoch = np.diff(read)
    assert per_epoch.tolist() == [3 * 8, 2 * 3 * 8, 2 * 3 * 8]


class TiedLayers(Trainable):
    """Two layers with one weight."""

    def build(self, info: DataInfo) -> nn.Module:
        one, other = nn.Linear(16, 16), nn.Linear(16, 16)
        other.weight = one.weight
        return nn.Sequential(nn.Flatten(), one, nn.ReLU(), other, nn.Linear(16, info.outputs))


def test_a_tied_weight_is_averaged_once_a_step() -> None:
    training = Training(max_epochs=1, batch_size=20)
    reg = read_regularisers({"ema": 0.9})
    made = build_training(TiedLayers(), splits(40, 20), training, reg, None)
    weight = made.model[1].weight  # type: ignore[index]  # a Sequential
    seen: list[Tensor] = []
    made.parts.regularisers.after_step.append(lambda _: seen.append(weight.detach().clone()))
    list(made.train())
    expected = seen[0].lerp(seen[1], 1 - 2 / 11)
    (average,) = made.parts.regularisers.all
    assert torch.equal(average.evaluated()[1].weight, expected)  # type: ignore[index]  # as above
