"""The gap's measurement."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.gap import choose_train_subset, compute_gaps
from trainables.measure import measure
from trainables.models import CNN, MLP

INFO = DataInfo((1, 8, 8), Task.CLASSIFICATION, 3, Kind.IMAGE)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_uneven_batches_change_nothing(batch_size: int) -> None:
    torch.manual_seed(0)
    model, x, y = MLP([5]).build(INFO), torch.rand(10, 1, 8, 8), torch.arange(10) % 3
    whole = nn.functional.cross_entropy(model.eval()(x), y)
    trainable = MLP()
    trainable.setup(INFO, Training())
    got = measure(
        model.train(),
        trainable,
        map(Batch, x.split(batch_size), y.split(batch_size)),
    )
    assert got["loss"] == pytest.approx(float(whole.detach()), rel=1e-5)
    assert got["accuracy"] == pytest.approx(float((model(x).argmax(1) == y).float().mean()))
    assert model.training


def test_a_gap_is_positive_when_the_training_side_is_better() -> None:
    got = compute_gaps(
        {"loss": 0.1, "accuracy": 0.9}, {"loss": 0.4, "accuracy": 0.7}, "accuracy".__eq__
    )
    assert got == pytest.approx({"loss": 0.3, "accuracy": 0.2})


def test_the_measured_subset_is_fixed_and_as_large_as_val() -> None:
    first = choose_train_subset(100, 20, seed=3)
    assert torch.equal(first, choose_train_subset(100, 20, seed=3))
    assert len(set(first.tolist())) == 20
    assert not torch.equal(first, choose_train_subset(100, 20, seed=4))
    assert choose_train_subset(5, 20, seed=0).tolist() == [0, 1, 2, 3, 4]


def test_the_cnn_takes_odd_sizes() -> None:
    info = DataInfo((3, 9, 7), Task.CLASSIFICATION, 4, Kind.IMAGE)
    assert CNN([4, 4], 6).build(info)(torch.rand(2, 3, 9, 7)).shape == (2, 4)
