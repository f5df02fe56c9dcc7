"""Trainings as lanes of a group, beside the same trainings alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.testing import assert_close

from trainables.build import build_training
from trainables.config.augmentations import list_augmentations
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.penalties import penalties
from trainables.config.regularisers import BUILT_IN, read_regularisers
from trainables.config.stopping import Patience
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.placing import Placed, place
from trainables.data.splits import Split, Splits
from trainables.lanes.group import Group
from trainables.loop import TrainingRun, train
from trainables.run import EpochResult

History = list[EpochResult | Exception]
Ended = tuple[History, TrainingRun]
Make = Callable[[], TrainingRun]
_STRENGTHS: dict[str, Any] = {
    "max_norm": 0.3,
    "dropout": 0.4,
    "stochastic_depth": 0.5,
    "random_erasing": 0.5,
    "input_noise": 0.3,
    "mixup": 0.5,
    "cutmix": 0.5,
    "label_smoothing": 0.09,
    "gradient_noise": 0.1,
    "ema": 0.8,
    "swa": 0.7,
}


def list_cases() -> list[dict[str, Any]]:
    """Points at which a regulariser is active, from the registry: one for each of its kinds."""
    return list(_list_cases())


def _list_cases() -> Iterator[dict[str, Any]]:
    for config in BUILT_IN:
        if config.selector == "penalty":
            yield from ({"penalty": kind, "lambda": 0.03} for kind in penalties.built_in())
        elif config.selector == "augmentation":
            kinds = (kind for kind in list_augmentations(Kind.IMAGE) if kind != "none")
            yield from ({"augmentation": k, "augmentation_strength": 0.6} for k in kinds)
        else:
            keys = [key for key in config.names() if key != config.on]
            yield from ({key: _STRENGTHS[key]} for key in keys)


def name(case: Mapping[str, Any]) -> str:
    """A point in words."""
    return ",".join(map(str, case.values()))


class Bench:
    """Data in memory, and trainings on them that can share their steps."""

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 4, 4),
        train_size: int = 44,
        seed: int = 0,
        val_size: int = 20,
        device: str = "cpu",
    ) -> None:
        rng = np.random.default_rng(seed)
        x = rng.random((train_size + val_size, *shape), dtype=np.float32)
        y = (x.reshape(len(x), -1).mean(1) > 0.5).astype(np.int64)
        y[:2] = 0, 1
        kind = Kind.IMAGE if len(shape) > 1 else Kind.TABLE
        info = DataInfo(shape, Task.CLASSIFICATION, 2, kind)
        train, val = Split(x[:train_size], y[:train_size]), Split(x[train_size:], y[train_size:])
        self.splits = Splits(train, val, None, info)
        self.placed: Placed = place(self.splits, device)

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
            device=self.placed.device,
            placed=self.placed,
        )


def train_alone(make: Make) -> Ended:
    """The history of a training alone; an error is its last item."""
    run, history = make(), []
    try:
        history.extend(train(run))
    except Exception as error:
        history.append(error)
    return history, run


@dataclass(frozen=True, eq=False)
class Neighbour:
    """Makes a training that stands beside others in many tests, and is trained alone once."""

    make: Make

    def __call__(self) -> TrainingRun:
        """The training before its first step."""
        return self.make()

    @cached_property
    def alone(self) -> Ended:
        """What it is alone."""
        return train_alone(self.make)


def train_together(makes: Sequence[Make]) -> list[Ended]:
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


def check_equal(shared: Ended, alone: Ended) -> None:
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
        check_equal(shared, make.alone if isinstance(make, Neighbour) else train_alone(make))


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
