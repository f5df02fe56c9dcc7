"""How many samples a step and a measurement take at once: ``batch_size``, ``drop_last`` …"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from tests.trainings import splits
from trainables.analysis.held_out import list_val_inputs, measure_held_out
from trainables.build import build_training
from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.functions import Measured
from trainables.loop import TrainingRun, train
from trainables.models import MLP


class Counting(MLP):
    """Remembers the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__([4])
        self.steps: list[int] = []
        self.measured: list[int] = []

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        self.steps.append(len(batch))
        return super().step(model, batch)

    def evaluate(self, model: nn.Module, batch: Batch) -> Mapping[str, Measured]:
        self.measured.append(len(batch))
        return super().evaluate(model, batch)


def begin(size: int = 61, **training: object) -> tuple[Counting, TrainingRun]:
    trainable = Counting()
    settings = Training.model_validate({"max_epochs": 1, "batch_size": 20, **training})
    return trainable, build_training(trainable, splits(size, 30), settings)


def test_metrics_are_measured_in_batches_of_their_own_size() -> None:
    trainable, run = begin(eval_batch_size=12)
    *_, last = train(run)
    assert trainable.measured == [12, 12, 6] * 2
    held_out = measure_held_out(run, splits(61, 30), run.best_state)
    assert trainable.measured == [12, 12, 6] * 4
    assert held_out.val["loss"].mean() == pytest.approx(last.metrics["val/loss"])
    assert [len(x) for x in list_val_inputs(run, 100)] == [12, 12, 6]
    some = torch.cat([*list_val_inputs(run, 15)])
    assert len(some) == len(some.unique(dim=0)) == 15
    _, whole = begin()
    assert [r.metrics for r in train(whole)][-1] == pytest.approx(last.metrics)


@pytest.mark.parametrize(
    ("size", "sizes"), [(61, [20, 20, 20]), (60, [20, 20, 20]), (79, [20, 20, 20]), (7, [7])]
)
def test_a_short_last_batch_can_be_dropped(size: int, sizes: list[int]) -> None:
    trainable, run = begin(size, drop_last=True)
    list(train(run))
    assert trainable.steps == sizes


def test_the_running_loss_is_the_mean_over_the_samples_that_were_trained_on() -> None:
    class Fixed(Counting):
        def step(self, model: nn.Module, batch: Batch) -> Tensor:
            return 0.0 * super().step(model, batch) + torch.tensor(3.0)

    run = build_training(
        Fixed(), splits(61, 30), Training(max_epochs=1, batch_size=20, drop_last=True)
    )
    *_, last = train(run)
    assert last.metrics["train_running/loss"] == pytest.approx(3.0)
