"""Penalised linear models trained here reach what independent solvers reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Lasso
from torch import nn

from tests.scikit_table import (
    ALPHA,
    BATCHES,
    COLUMNS,
    README,
    ROWS,
    Batches,
    Column,
    N,
    P,
    Row,
    Samples,
    draw_inputs,
    draw_regression,
    replace_table,
)
from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.data.array_samples import ArraySamples
from trainables.data.placing import place
from trainables.data.samples import Plan
from trainables.data.splits import Split, Splits
from trainables.loading import ModuleTrainable
from trainables.loop import train

Fitted = tuple[NDArray[np.float64], float]
STEPS = 25
BY_EPOCH = {"schedule", "lambda_schedule"}
LASSO: Mapping[str, Any] = {"penalty": "l1", "lambda": 2 * ALPHA}


class Logit(nn.Module):
    """Two outputs of which the first is fixed: its softmax is the logistic function."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(P, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = self.layer(x)
        return torch.cat([torch.zeros_like(margin), margin], 1)


class WholeBatches(ArraySamples):
    """All samples in each of several steps of an epoch: fewer epochs have to be measured."""

    def plan(self, batch_size: int, *, drop_last: bool = False, balanced: bool = False) -> Plan:
        return [torch.arange(len(self))] * STEPS

    def count_batches(self, batch_size: int, *, drop_last: bool = False) -> int | None:
        return STEPS


def build_linear() -> nn.Module:
    return nn.Linear(P, 1)


def train_network(
    network: Any, samples: Samples, point: Mapping[str, Any], epochs: int, training: dict[str, Any]
) -> dict[str, NDArray[np.float64]]:
    """Weights after a training here, of all samples in a batch by default.

    An epoch is one step then, but where nothing depends on epochs ``STEPS`` of them are one.
    """
    x, y = samples
    classes = y.dtype == np.int64
    targets = y if classes or y.ndim == 2 else y[:, None]
    task = Task.CLASSIFICATION if classes else Task.REGRESSION
    info = DataInfo((P,), task, 2 if classes else targets.shape[1], Kind.TABLE)
    part = Split(x, targets)
    splits = Splits(part, part, None, info)
    values = {"max_epochs": epochs, "batch_size": N, "lr": 0.05} | training
    placed = None
    if values["batch_size"] == N and not values.keys() & BY_EPOCH:
        values["max_epochs"] //= STEPS
        placed = replace(place(splits, "cpu"), train=WholeBatches(part, "cpu"))
    run = build_training(
        ModuleTrainable(network, {}),
        splits,
        Training.model_validate({"measure_every": values["max_epochs"], **values}),
        read_regularisers(point),
        None,
        placed=placed,
    )
    for _ in train(run):
        pass
    return {name: w.double().numpy() for name, w in run.best_state.items()}


def fit(samples: Samples, point: Mapping[str, Any], epochs: int = 600, **training: Any) -> Fitted:
    """Coefficients and intercept of a linear model."""
    network = Logit if samples[1].dtype == np.int64 else build_linear
    state = train_network(network, samples, point, epochs, training)
    named = {name.rpartition(".")[2]: value for name, value in state.items()}
    return named["weight"].ravel(), float(named["bias"][0])


def check(got: Fitted, oracle: Any, tolerance: float = 1e-3) -> None:
    weights, bias = got
    assert weights == pytest.approx(oracle.coef_.ravel(), abs=tolerance)
    assert bias == pytest.approx(float(np.ravel(oracle.intercept_)[0]), abs=tolerance)


def check_zeros(got: Fitted, oracle: Any) -> None:
    assert ((got[0] == 0) == (np.abs(oracle.coef_.ravel()) < 1e-9)).all()


@pytest.mark.parametrize("batches", BATCHES, ids=lambda b: b.name)
@pytest.mark.parametrize("column", COLUMNS, ids=lambda c: c.name)
@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_each_row_of_the_table_with_each_optimizer(
    row: Row, column: Column, batches: Batches
) -> None:
    x, y = row.draw()
    oracle = row.oracle.fit(x.astype(np.float64), y)
    got = fit(
        (x, y),
        row.point,
        batches.epochs * (row.epochs if column.faster else 1),
        batch_size=batches.size,
        lr=column.lr * (row.lr if column.faster else 1),
        **row.training,
        **column.training,
    )
    check(got, oracle, batches.tolerance)
    if batches.size == N:
        check_zeros(got, oracle)


def test_the_table_of_the_readme_is_current() -> None:
    text = README.read_text(encoding="utf-8")
    assert replace_table(text) == text, "run `make keys`"


def fit_lasso() -> tuple[Samples, Any]:
    x, y = draw_regression()
    oracle = Lasso(alpha=ALPHA, tol=1e-10, max_iter=100000).fit(x.astype(np.float64), y)
    assert 0 < (oracle.coef_ == 0).sum() < P
    return (x, y), oracle


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": {"name": "sgd", "nesterov": True}, "lr": 0.01},
        {"optimizer": {"name": "torch.optim:SGD", "momentum": 0.8, "dampening": 0.5}, "lr": 0.04},
        {"optimizer": {"name": "torch.optim:Adam", "amsgrad": True}, "lr": 0.1},
        {"optimizer": {"name": "torch.optim:NAdam"}, "lr": 0.1},
        {"optimizer": {"name": "torch.optim:RMSprop"}},
        {"optimizer": {"name": "torch.optim:RMSprop", "momentum": 0.9}, "lr": 0.01}
        | {"max_epochs": 600},
        {"optimizer": {"name": "torch.optim:Adagrad"}, "lr": 0.5},
        {"clip_norm": 0.5, "optimizer": "sgd", "lr": 0.05},
        {"clip_norm": 0.5},
        {"clip_norm": 3.0, "batch_size": 30, "lr": 0.05, "max_epochs": 150},
        {"lambda_schedule": "warmup", "lambda_warmup_epochs": 100, "lr": 0.1},
        {"schedule": "tests.unit.test_oracles:warm_up", "lr": 0.15},
        {"schedule": "tests.unit.test_oracles:warm_up", "optimizer": "sgd", "lr": 0.01},
    ],
    ids=str,
)
def test_lambda_is_that_of_the_objective_however_it_is_trained(options: dict[str, Any]) -> None:
    samples, oracle = fit_lasso()
    got = fit(samples, LASSO, 300, **options)
    check(got, oracle, 2e-3)
    check_zeros(got, oracle)


def warm_up(epoch: int, max_epochs: int) -> float:
    """A learning rate that grows for 50 epochs, then falls to 0."""
    return min(1.0, (epoch + 1) / 50) * (1 - epoch / max_epochs)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("penalty", ["l1", "elastic_net"])
def test_inputs_without_gradient_get_the_weight_zero(optimizer: str, penalty: str) -> None:
    x, y = draw_regression()
    x[:, 3] = 0
    point = {**LASSO, "penalty": penalty, "l1_ratio": 0.5}
    weights, _ = fit((x, y), point, 300, optimizer=optimizer, lr=0.01)
    assert weights[3] == 0
    assert (weights[:3] != 0).all()


def test_decoupled_decay_of_sgd_with_momentum_is_the_objectives() -> None:
    row = next(r for r in ROWS if "Ridge" in r.name)
    x, y = row.draw()
    options = {"optimizer": "sgd", "lr": 0.002, "l2_update": "decoupled"}
    check(fit((x, y), row.point, 500, **options), row.oracle.fit(x, y))


def test_a_subgradient_reaches_no_exact_zero() -> None:
    weights, _ = fit(draw_regression(), LASSO, l1_update="subgradient", optimizer="sgd")
    assert (weights != 0).all()


UNITS = 4


def build_units() -> nn.Module:
    """Units whose outputs are the network's, through a last layer that is not trained."""
    last = nn.Linear(UNITS, UNITS, bias=False).requires_grad_(False)
    nn.init.eye_(last.weight)
    return nn.Sequential(nn.Linear(P, UNITS), last)


def solve_group_lasso(
    x: NDArray[np.float64], y: NDArray[np.float64], lam: float
) -> NDArray[np.float64]:
    """Weights and bias ``(UNITS, P + 1)`` of the units, by FISTA (Beck & Teboulle 2009).

    The loss is the mean of the squared distances over samples and units.
    """
    design = np.hstack([x, np.ones((len(x), 1))])
    strength = lam * np.sqrt(design.shape[1])
    step = y.size / (2 * np.linalg.norm(design, 2) ** 2)
    weights = ahead = np.zeros((y.shape[1], design.shape[1]))
    t = 1.0
    for _ in range(3000):
        moved = ahead - step * 2 * (ahead @ design.T - y.T) @ design / y.size
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        new = moved * np.maximum(0, 1 - step * strength / np.maximum(norms, 1e-30))
        following = (1 + np.sqrt(1 + 4 * t * t)) / 2
        ahead, weights, t = new + (t - 1) / following * (new - weights), new, following
    return weights


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "momentum": 0.0, "lr": 0.3},
        {"optimizer": "sgd", "lr": 0.03},
        {"optimizer": "adam", "lr": 0.15},
        {"optimizer": "adamw", "lr": 0.15},
        {"optimizer": "adamw", "batch_size": 30, "lr": 0.07, "max_epochs": 150},
    ],
    ids=str,
)
def test_group_lasso_by_every_optimizer(options: dict[str, Any]) -> None:
    x, rng = draw_inputs(), np.random.default_rng(2)
    scales = np.array([3.0, 1.0, 0.1, 0.03])
    y = (x @ rng.standard_normal((P, UNITS)) * scales + 0.1).astype(np.float32)
    expected = solve_group_lasso(x.astype(np.float64), y.astype(np.float64), 0.1)
    assert 0 < (expected == 0).all(1).sum() < UNITS
    point = {"penalty": "group_lasso", "lambda": 0.1}
    state = train_network(build_units, (x, y), point, 300, options)
    got = np.hstack([state["0.weight"], state["0.bias"][:, None]])
    assert got == pytest.approx(expected, abs=5e-3)
    assert ((got == 0).all(1) == (expected == 0).all(1)).all()
