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
from trainables.data.datasets import load
from trainables.errors import ContractError


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


def test_a_loss_of_probabilities_gets_them() -> None:
    check(softmax, loss=f"{__name__}:of_probabilities")
