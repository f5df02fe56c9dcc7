"""Penalised linear models trained here reach what independent solvers reach.

Our losses are means over samples, so λ follows from scikit-learn's α and C like this (n samples):
Lasso ``λ = 2α``; Ridge ``λ = α/n``; ElasticNet ``λ·l1_ratio = 2αρ`` and ``λ·(1 − l1_ratio) =
α(1 − ρ)``; LogisticRegression ``λ = 1/(nC)`` for L1, ``1/(2nC)`` for L2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge
from torch import nn

from trainables.build import build_training
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.regularisers import read_regularisers
from trainables.config.training import Training
from trainables.data.splits import Split, Splits
from trainables.loading import ModuleTrainable
from trainables.loop import train

N, P = 120, 12
TRUE = np.array([2.0, -3.0, 1.5, 0.5, *[0.0] * (P - 4)])


class Logit(nn.Module):
    """Two outputs of which the first is fixed: its softmax is the logistic function."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(P, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = self.layer(x)
        return torch.cat([torch.zeros_like(margin), margin], 1)


def inputs() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, P)).astype(np.float32)


def regression() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x, noise = inputs(), np.random.default_rng(1).standard_normal(N)
    return x, (x @ TRUE + 0.5 * noise + 0.7).astype(np.float32)


def classes() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    x, noise = inputs(), np.random.default_rng(1).logistic(size=N)
    return x, (x @ TRUE + noise > 0).astype(np.int64)


def fitted(
    network: type[nn.Module] | Any,
    x: NDArray[np.float32],
    y: NDArray[Any],
    regularisation: dict[str, Any],
    epochs: int = 500,
    **training: Any,
) -> tuple[NDArray[np.float64], float]:
    """Coefficients and intercept of a full-batch training here."""
    task = Task.CLASSIFICATION if y.dtype == np.int64 else Task.REGRESSION
    info = DataInfo((P,), task, 2 if task is Task.CLASSIFICATION else 1, Kind.TABLE)
    targets = y if task is Task.CLASSIFICATION else y[:, None]
    part = Split(x, targets)
    values = {"optimizer": "sgd", "momentum": 0.0, "lr": 0.2, "schedule": "constant"}
    run = build_training(
        ModuleTrainable(network, {}),
        Splits(part, part, None, info),
        Training.model_validate(
            {"max_epochs": epochs, "batch_size": N, "measure_every": epochs} | values | training
        ),
        read_regularisers(regularisation),
        None,
    )
    for _ in train(run):
        pass
    state = {name.rpartition(".")[2]: w.double().numpy() for name, w in run.best_state.items()}
    return state["weight"].ravel(), float(state["bias"][0])


def check(got: tuple[NDArray[np.float64], float], oracle: Any) -> None:
    weights, bias = got
    expected = oracle.coef_.ravel()
    assert weights == pytest.approx(expected, abs=1e-3)
    assert bias == pytest.approx(float(np.ravel(oracle.intercept_)[0]), abs=1e-3)
    assert ((weights == 0) == (np.abs(expected) < 1e-9)).all()


def linear() -> nn.Module:
    return nn.Linear(P, 1)


def test_lasso() -> None:
    x, y = regression()
    oracle = Lasso(alpha=0.3, tol=1e-10, max_iter=100000).fit(x.astype(np.float64), y)
    assert 0 < (oracle.coef_ == 0).sum() < P
    check(fitted(linear, x, y, {"penalty": "l1", "lambda": 2 * 0.3}), oracle)


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.0, "lr": 0.2},
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "lr": 0.02},
    "nesterov": {"optimizer": {"name": "sgd", "nesterov": True, "momentum": 0.9}, "lr": 0.02},
    "adam": {"optimizer": "adam", "lr": 0.02, "schedule": "cosine"},
    "adamw": {"optimizer": "adamw", "lr": 0.02, "schedule": "cosine"},
}
any_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


@any_optimizer
def test_lasso_by_every_optimizer(optimizer: str) -> None:
    x, y = regression()
    oracle = Lasso(alpha=0.3, tol=1e-10, max_iter=100000).fit(x.astype(np.float64), y)
    point = {"penalty": "l1", "lambda": 0.6}
    check(fitted(linear, x, y, point, epochs=1500, **OPTIMIZERS[optimizer]), oracle)


@any_optimizer
def test_elastic_net_by_every_optimizer(optimizer: str) -> None:
    x, y = regression()
    alpha, ratio = 0.3, 0.5
    oracle = ElasticNet(alpha=alpha, l1_ratio=ratio, tol=1e-10, max_iter=100000).fit(
        x.astype(np.float64), y
    )
    l1, l2 = 2 * alpha * ratio, alpha * (1 - ratio)
    point = {"penalty": "elastic_net", "lambda": l1 + l2, "l1_ratio": l1 / (l1 + l2)}
    check(fitted(linear, x, y, point, epochs=1500, **OPTIMIZERS[optimizer]), oracle)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
@pytest.mark.parametrize("update", ["coupled", "decoupled"])
def test_ridge_by_momentum(optimizer: str, update: str) -> None:
    x, y = regression()
    oracle = Ridge(alpha=30.0, tol=1e-12).fit(x, y)
    options = {**OPTIMIZERS[optimizer], "l2_update": update}
    options["lr"] /= 4
    check(
        fitted(linear, x, y, {"penalty": "l2", "lambda": 30.0 / N}, epochs=1500, **options), oracle
    )


def test_ridge() -> None:
    x, y = regression()
    oracle = Ridge(alpha=30.0, tol=1e-12).fit(x, y)
    for update in ("coupled", "decoupled"):
        got = fitted(linear, x, y, {"penalty": "l2", "lambda": 30.0 / N}, l2_update=update, lr=0.05)
        check(got, oracle)


@pytest.mark.parametrize("ratio", [0.2, 0.8])
def test_elastic_net(ratio: float) -> None:
    x, y = regression()
    alpha = 0.3
    oracle = ElasticNet(alpha=alpha, l1_ratio=ratio, tol=1e-10, max_iter=100000).fit(
        x.astype(np.float64), y
    )
    l1, l2 = 2 * alpha * ratio, alpha * (1 - ratio)
    point = {"penalty": "elastic_net", "lambda": l1 + l2, "l1_ratio": l1 / (l1 + l2)}
    check(fitted(linear, x, y, point, l2_update="coupled"), oracle)


@pytest.mark.parametrize(("ratio", "penalty"), [(1, "l1"), (0, "l2")])
def test_logistic_regression(ratio: int, penalty: str) -> None:
    x, y = classes()
    c = 0.5
    oracle = LogisticRegression(
        C=c,
        l1_ratio=ratio,
        solver="saga" if penalty == "l1" else "lbfgs",
        tol=1e-8,
        max_iter=20000,
        random_state=0,
    ).fit(x.astype(np.float64), y)
    lam = 1 / (N * c) if penalty == "l1" else 1 / (2 * N * c)
    point = {"penalty": penalty, "lambda": lam}
    check(fitted(Logit, x, y, point, l2_update="coupled", lr=3.0, epochs=800), oracle)


def test_a_subgradient_reaches_no_exact_zero() -> None:
    x, y = regression()
    weights, _ = fitted(linear, x, y, {"penalty": "l1", "lambda": 0.6}, l1_update="subgradient")
    assert (weights != 0).all()
