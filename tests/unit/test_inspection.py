"""Networks that cannot be swept are refused before any trial, with what to change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.data import Split, Splits
from trainables.errors import ContractError
from trainables.hyper import Regularisation, Training
from trainables.info import DataInfo, Kind, Task
from trainables.inspection import Examination, examine
from trainables.loading import ModuleTrainable
from trainables.loop import TrainingRun

INFO = DataInfo((4,), Task.CLASSIFICATION, 2, Kind.TABLE)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)


class Fails(Base):
    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(x[:, :3]))


class WrongShape(Base):
    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(x)[:, :1])


class NoParameters(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :2]


class Unused(Base):
    def __init__(self) -> None:
        super().__init__()
        self.forgotten = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(x))


class Counts(Base):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.as_tensor(self.layer(x)) + self.calls


class Remembers(Base):
    """Its last training batch is still in the next one's graph."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.layer(x)
        if self.training:
            outputs = outputs if self.memory is None else outputs + 0.1 * self.memory
            self.memory = outputs.square().mean()
        return torch.as_tensor(outputs)


class Tuple(Base):
    def forward(self, x: Tensor) -> Any:
        return self.layer(x), x


def examined(network: type[nn.Module], **reg: Any) -> Examination:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)).astype(np.float32), np.arange(20) % 2
    splits = Splits(Split(x[:10], y[:10]), Split(x[10:], y[10:]), None, INFO)
    regularisation = Regularisation.model_validate(reg)
    run = TrainingRun(
        ModuleTrainable(network, {}), splits, Training(batch_size=5), regularisation, None
    )
    return examine(run, splits)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Fails, r"forward fails on a batch of shape \(2, 4\)"),
        (WrongShape, r"returns shape \(8, 1\) for a batch of 8; .* needs \(8, 2\)"),
        (NoParameters, "has no parameters to train"),
        (Unused, "the loss does not reach forgotten.weight, forgotten.bias"),
        (Counts, "keeps state between batches"),
        (Remembers, "the second training step fails"),
        (Tuple, "returns tuple, not a tensor"),
    ],
)
def test_a_network_that_breaks_the_contract(network: type[nn.Module], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        examined(network)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"dropout": 0.5}, "dropout: the network has no dropout layer"),
        ({"cutmix": 1.0}, "cutmix: it is for images"),
        ({"stochastic_depth": 0.1}, "no layer of class StochasticDepth or DropPath"),
    ],
)
def test_a_regulariser_that_does_not_fit(point: dict[str, Any], words: str) -> None:
    class Sound(Base):
        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.layer(x))

    with pytest.raises(ContractError, match=words):
        examined(Sound, **point)
    assert examined(Sound, dropout=0.0).memory > 0
