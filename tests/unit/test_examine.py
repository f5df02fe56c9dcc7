"""Networks that cannot be swept are refused before any trial, with what to change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.analysis.examine import Examination, examine
from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.splits import Split, Splits
from trainables.errors import ContractError
from trainables.loading import ModuleTrainable

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
        return torch.as_tensor(self.layer(x)).unsqueeze(-1).expand(-1, 2, 2)


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


def splits() -> Splits:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)).astype(np.float32), np.arange(20) % 2
    return Splits(Split(x[:10], y[:10]), Split(x[10:], y[10:]), None, INFO)


def examined(network: type[nn.Module], **reg: Any) -> Examination:
    data = splits()
    regularisation = read_regularisers(reg)
    run = build_training(
        ModuleTrainable(network, {}), data, Training(batch_size=5), regularisation, None
    )
    return examine(run, data)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Fails, r"forward, on inputs float32 \(2, 4\), raised RuntimeError"),
        (
            WrongShape,
            r"returns outputs of shape \(8, 2, 2\) for targets of shape \(8,\); .* \(8, 2\)",
        ),
        (NoParameters, "has no parameters to train"),
        (Unused, "no gradient reaches forgotten.weight, forgotten.bias"),
        (Counts, "keeps state between batches"),
        (Remembers, "the second training step raised RuntimeError"),
        (Tuple, "no built-in loss is for outputs of type tuple; name one by training.loss"),
    ],
)
def test_a_network_that_breaks_the_contract(network: type[nn.Module], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        examined(network)


class InParts(Trainable):
    """A step of its own, by a part of the network or by the whole of it."""

    def __init__(self, whole: bool) -> None:
        self._whole = whole

    def build(self, info: DataInfo) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 2))

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        called = model if self._whole else model.get_submodule("0")
        return self.losses(called(batch.x), batch.y).mean()


@pytest.mark.parametrize(("whole", "workers"), [(True, 1), (True, 2), (False, 1), (False, 2)])
def test_several_workers_need_a_step_that_calls_the_whole_network(
    whole: bool, workers: int
) -> None:
    data = splits()
    run = build_training(InParts(whole), data, Training(), (), None)
    if whole or workers == 1:
        assert examine(run, data, workers).step_memory > 0
        return
    with pytest.raises(ContractError, match="a step must call the whole network"):
        examine(run, data, workers)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"dropout": 0.5}, "dropout: the network has no dropout layer"),
        ({"cutmix": 1.0}, "cutmix: requires images"),
        ({"stochastic_depth": 0.1}, "no layer of class StochasticDepth or DropPath"),
    ],
)
def test_a_regulariser_that_does_not_fit(point: dict[str, Any], words: str) -> None:
    class Sound(Base):
        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.layer(x))

    with pytest.raises(ContractError, match=words):
        examined(Sound, **point)
    assert examined(Sound, dropout=0.0).step_memory > 0
