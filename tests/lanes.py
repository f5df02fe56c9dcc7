"""Trainings as lanes of a group, beside the same trainings alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.testing import assert_close

from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.stopping import Patience
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.placing import Placed, place
from trainables.data.splits import Split, Splits
from trainables.lanes.group import Group
from trainables.loop import TrainingRun, train
from trainables.run import EpochResult

History = list[EpochResult | Exception]
Make = Callable[[], TrainingRun]


class Bench:
    """Data in memory, and trainings on them that can share their steps."""

    def __init__(self, shape: tuple[int, ...] = (1, 4, 4), train_size: int = 44) -> None:
        rng = np.random.default_rng(0)
        x = rng.random((train_size + 20, *shape), dtype=np.float32)
        y = (x.reshape(len(x), -1).mean(1) > 0.5).astype(np.int64)
        y[:2] = 0, 1
        kind = Kind.IMAGE if len(shape) > 1 else Kind.TABLE
        info = DataInfo(shape, Task.CLASSIFICATION, 2, kind)
        train, val = Split(x[:train_size], y[:train_size]), Split(x[train_size:], y[train_size:])
        self.splits = Splits(train, val, None, info)
        self.placed: Placed = place(self.splits, "cpu")

    def make(
        self, trainable: Trainable, training: dict[str, Any] | None = None, **reg: Any
    ) -> TrainingRun:
        """A training before its first step."""
        settings = {"max_epochs": 3, "batch_size": 16, "lr": 0.05, **(training or {})}
        return build_training(
            trainable,
            self.splits,
            Training.model_validate(settings),
            read_regularisers(reg),
            Patience(patience=6),
            placed=self.placed,
        )


def train_alone(make: Make) -> tuple[History, TrainingRun]:
    """The history of a training alone; an error is its last item."""
    run, history = make(), []
    try:
        history.extend(train(run))
    except Exception as error:
        history.append(error)
    return history, run


def train_together(makes: Sequence[Make]) -> list[tuple[History, TrainingRun]]:
    """The histories of trainings that begin together, in a group that none leaves early."""
    group, runs = Group(), [make() for make in makes]
    for run in runs:
        group.take(run)
    histories: dict[TrainingRun, History] = {run: [] for run in runs}
    while group.runs:
        for run, outcome in group.advance().items():
            histories[run].append(outcome)
        assert not group.reasons, set(group.reasons.values())
    return [(histories[run], run) for run in runs]


def check_equal(shared: tuple[History, TrainingRun], alone: tuple[History, TrainingRun]) -> None:
    """Both have the same history and the same weights, to the last bit."""
    assert list(map(_show, shared[0])) == list(map(_show, alone[0]))
    for mine, wanted in zip(_list_states(shared[1]), _list_states(alone[1]), strict=True):
        assert mine.keys() == wanted.keys()
        for name, value in mine.items():
            assert_close(value, wanted[name], rtol=0, atol=0, equal_nan=True, msg=name)


def _list_states(run: TrainingRun) -> list[Mapping[str, Tensor]]:
    return [run.model.state_dict(), run.best_state]


def check_each(*makes: Make) -> None:
    """Trainings that begin together are each equal to themselves alone."""
    for shared, make in zip(train_together(makes), makes, strict=True):
        check_equal(shared, train_alone(make))


def _show(outcome: EpochResult | Exception) -> object:
    return outcome if isinstance(outcome, EpochResult) else repr(outcome)


def count_storage(values: dict[str, Tensor]) -> list[int]:
    """The bytes that are written of each tensor."""
    return [value.untyped_storage().nbytes() for value in values.values()]


def torch_threads(count: int) -> int:
    """Set the number of torch's threads; returns what it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    return before
