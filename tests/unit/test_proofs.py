"""Claims that can be checked against something else: torch's optimisers, and the gap's extremes."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.training import HALF_LIFE, Training
from trainables.data.splits import Split, Splits
from trainables.loading import ModuleTrainable
from trainables.loop import train

INFO = DataInfo((6,), Task.CLASSIFICATION, 3, Kind.TABLE)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16, bias=False), nn.Tanh(), nn.Linear(16, 3, bias=False))


def splits(random_labels: bool = False, size: int = 90) -> Splits:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * size, 6)).astype(np.float32)
    y = rng.integers(0, 3, 2 * size) if random_labels else np.abs(x[:, :3]).argmax(1)
    return Splits(Split(x[:size], y[:size]), Split(x[size:], y[size:]), None, INFO)


def after(
    data: Splits, reg: dict[str, Any], **training: Any
) -> tuple[dict[str, Tensor], nn.Module]:
    """Weights after a training here, and the network before it."""
    values = {"max_epochs": 3, "batch_size": len(data.train), "schedule": "constant", "lr": 0.01}
    run = build_training(
        ModuleTrainable(network, {}),
        data,
        Training.model_validate(values | training),
        read_regularisers(reg),
        None,
    )
    start = copy.deepcopy(run.model)
    for _ in train(run):
        pass
    return run.best_state, start


def by_hand(model: nn.Module, data: Splits, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.allclose(one[n], other[n], rtol=1e-5, atol=1e-7) for n in other)


def test_decoupled_l2_is_torchs_adamw() -> None:
    data = splits()
    point = {"penalty": "l2", "lambda": 0.2}
    got, model = after(data, point, optimizer="adamw", l2_update="decoupled")
    adamw = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=2 * 0.2)
    assert equal(got, by_hand(model, data, adamw))
    none, _ = after(data, {}, optimizer="adamw")
    assert not equal(got, none)


def test_coupled_l2_is_the_weight_decay_of_torchs_sgd() -> None:
    data = splits()
    point = {"penalty": "l2", "lambda": 0.2}
    got, model = after(data, point, optimizer="sgd", l2_update="coupled", lr=0.1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=2 * 0.2)
    assert equal(got, by_hand(model, data, sgd))


class Constant(nn.Module):
    """It says the same of everything; its weight is multiplied by nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(0 * x))


def last_metrics(factory: Any, data: Splits, epochs: int) -> dict[str, float]:
    run = build_training(
        ModuleTrainable(factory, {}),
        data,
        Training(max_epochs=epochs, batch_size=32, lr=3e-3),
        (),
        None,
    )
    *_, last = train(run)
    return dict(last.metrics)


def test_memorised_random_labels_have_a_gap_of_chance() -> None:
    ten = DataInfo((6,), Task.CLASSIFICATION, 10, Kind.TABLE)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 6)).astype(np.float32), rng.integers(0, 10, 200)
    data = Splits(Split(x[:100], y[:100]), Split(x[100:], y[100:]), None, ten)

    def to_ten() -> nn.Module:
        return nn.Sequential(
            nn.Linear(6, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
        )

    metrics = last_metrics(to_ten, data, 80)
    assert metrics["train/accuracy"] == 1.0
    assert metrics["gap/accuracy"] >= 0.8


def test_a_constant_model_has_no_gap() -> None:
    """On splits with equal shares of the classes: it has learnt nothing but those."""
    rng = np.random.default_rng(0)
    y = np.arange(180) % 3
    x = rng.normal(size=(180, 6)).astype(np.float32)
    data = Splits(Split(x[:90], y[:90]), Split(x[90:], y[90:]), None, INFO)
    metrics = last_metrics(Constant, data, 5)
    assert metrics["gap/accuracy"] == 0.0
    assert metrics["gap/loss"] == pytest.approx(0.0, abs=1e-6)


def test_the_half_life_of_decay_is_what_weights_without_gradient_do() -> None:
    """Weights of inputs that are always 0 decay alone; an update of the objective has none."""
    data = splits()
    data.train.x[:, 2:] = 0
    point = {"penalty": "l2", "lambda": 0.1}
    options = {"batch_size": 30, "max_epochs": 6, "schedule": "cosine", "lr": 0.02}

    def train_one(**training: Any) -> tuple[Any, Tensor]:
        run = build_training(
            ModuleTrainable(network, {}),
            data,
            Training.model_validate({**options, **training}),
            read_regularisers(point),
        )
        before = run.model[0].weight[:, 2:].norm().item()
        for _ in train(run):
            pass
        return run, run.model[0].weight[:, 2:].norm().item() / before

    run, left = train_one(optimizer="adamw")
    assert math.log2(1 / left) == pytest.approx(6 / run.best_metrics()[HALF_LIFE], rel=1e-2)
    for objective in ({"optimizer": "sgd"}, {"l2_update": "coupled"}, {"optimizer": "adam"}):
        run, _ = train_one(**objective)
        assert HALF_LIFE not in run.best_metrics()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_group_lasso_goes_on_where_units_are_zero(optimizer: str) -> None:
    """A unit of zeros has no gradient; the last layer's units are outputs and stay."""
    point, options = {"penalty": "group_lasso", "lambda": 1.0}, {"optimizer": optimizer}
    got, _ = after(splits(), point, max_epochs=30, lr=0.05, **options)
    assert not got["0.weight"].any()
    assert all(value.isfinite().all() for value in got.values())
    assert got["2.weight"].any()
