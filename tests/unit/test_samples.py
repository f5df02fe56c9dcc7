"""Where the data of a training lie changes nothing that it computes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainings import splits
from trainables.build import build_training
from trainables.config.training import Training
from trainables.data.array_samples import ArraySamples
from trainables.data.placing import Placed, place, place_split
from trainables.data.splits import Splits
from trainables.loop import TrainingRun, train
from trainables.models import CNN


def streamed(data: Splits) -> Placed:
    """As on a GPU that the data do not fit."""
    train, val = (place_split(s, "cpu") for s in (data.train, data.val))
    return Placed("cpu", train, val, train)


def run(data: Splits, placed: Placed | None, **training: Any) -> TrainingRun:
    settings = Training(max_epochs=3, batch_size=8, **training)
    return build_training(CNN([4], 8), data, settings, (), None, placed=placed)


def test_fetched_batches_give_the_curve_of_data_that_lie_on_the_device() -> None:
    data = splits(61, 23)
    assert list(train(run(data, streamed(data)))) == list(train(run(data, None)))


def test_batches_are_fetched_ahead_and_come_in_order() -> None:
    data = splits(40, 5)
    order = torch.randperm(40)
    indices = [*order.split(7), slice(3, 9)]
    lying, coming = ArraySamples(data.train, "cpu"), ArraySamples(data.train, "cpu", resident=False)
    for (x, y), (other_x, other_y) in zip(
        lying.batches(indices), coming.batches(indices), strict=True
    ):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


def test_an_error_while_fetching_reaches_the_training() -> None:
    coming = ArraySamples(splits(10, 5).train, "cpu", resident=False)
    with pytest.raises(IndexError):
        list(coming.batches([torch.tensor([99])]))


@pytest.mark.parametrize("resident", [True, False])
def test_arrays_that_may_not_be_written_are_taken_without_a_warning(resident: bool) -> None:
    data = splits(10, 5)
    for values in (data.train.x, data.train.y):
        values.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, _ = ArraySamples(data.train, "cpu", resident=resident).head(4)
    x.add_(1)
    assert np.all(data.train.x <= 1)


@pytest.mark.parametrize(("free", "resident"), [(10**6, True), (1000, False)])
def test_data_lie_on_a_gpu_where_they_take_no_more_than_half_of_it(
    monkeypatch: pytest.MonkeyPatch, free: int, resident: bool
) -> None:
    made: list[bool] = []

    def record(split: object, device: str, *, resident: bool) -> None:
        made.append(resident)

    monkeypatch.setattr("trainables.data.placing.get_free_memory", lambda: free)
    monkeypatch.setattr("trainables.data.placing.ArraySamples", record)
    place(splits(20, 5), "cuda")
    assert made == [resident, resident]
