"""Probabilities where the built-in loss takes logits are refused, before a wrong training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.specs import parse
from trainables.analysis.examine import examine
from trainables.build import build_run
from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.data.datasets import load
from trainables.errors import ContractError
from trainables.loop import train
from trainables.loops.evaluation import Measuring


def softmax() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 2), nn.Softmax(dim=1))


def sigmoid() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 1), nn.Sigmoid())


class Squeezed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(30, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.layer(x)).squeeze(-1)


def log_softmax() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 2), nn.LogSoftmax(dim=1))


def gated() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 8), nn.Sigmoid(), nn.Linear(8, 2))


def of_probabilities(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.nll_loss(outputs.log(), targets)


def check(network: Callable[..., nn.Module], **training: Any) -> None:
    spec = parse(
        data="breast_cancer",
        trainable=f"{__name__}:{network.__name__}",
        training=training,
        confirm="off",
    )
    splits = load(spec.data)
    examine(build_run(spec, {}, splits, baseline=True, device="cpu"), splits)


@pytest.mark.parametrize("network", [softmax, sigmoid, Squeezed])
def test_a_network_that_ends_in_probabilities_is_refused(network: Callable[..., Any]) -> None:
    with pytest.raises(ContractError, match=r"ends in a s\w+, .* training\.loss"):
        check(network)


@pytest.mark.parametrize("network", [log_softmax, gated])
def test_what_a_softmax_does_not_change_is_trained(network: Callable[..., Any]) -> None:
    check(network)


def of_chances(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy(outputs.flatten(), targets.float())


@pytest.mark.parametrize("network", [sigmoid, Squeezed])
def test_probabilities_with_a_loss_of_their_own_are_classes_above_one_half(
    network: Callable[..., Any],
) -> None:
    spec = parse(
        data="breast_cancer",
        trainable=f"{__name__}:{network.__name__}",
        training={"loss": f"{__name__}:of_chances", "max_epochs": 8, "lr": 0.02},
        confirm="off",
    )
    splits = load(spec.data)
    run = build_run(spec, {}, splits, baseline=True, device="cpu")
    *_, last = train(run)
    x, y = run.data.val.head(1000)
    with torch.no_grad():
        right = (run.model(x).flatten() > 0.5) == (y > 0)
    assert last.metrics["val/accuracy"] == pytest.approx(float(right.double().mean()))
    assert last.metrics["val/accuracy"] > 0.85


def test_a_loops_network_that_ends_in_probabilities_is_refused() -> None:
    batch = Batch(torch.rand(8, 30), torch.arange(8) % 2)
    info = DataInfo((30,), Task.CLASSIFICATION, 2, Kind.TABLE)
    measuring = Measuring()
    measuring.setup(info, Training())
    with pytest.raises(ContractError, match=r"ends in a sigmoid"):
        measuring.evaluate(Squeezed().eval(), batch)
    measuring = Measuring()
    measuring.setup(info, Training.model_validate({"loss": f"{__name__}:of_chances"}))
    network = Squeezed().eval()
    with torch.no_grad():
        network.layer.bias.fill_(-20.0)  # the first class
        found = measuring.evaluate(network, batch)["accuracy"]
    assert isinstance(found, Tensor)
    assert float(found.mean()) == 0.5


def test_a_loss_of_probabilities_gets_them() -> None:
    check(softmax, loss=f"{__name__}:of_probabilities")
