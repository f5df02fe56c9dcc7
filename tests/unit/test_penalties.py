"""The penalties' closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainables import penalties


def test_soft_threshold_is_the_minimiser_of_its_own_problem() -> None:
    weight, threshold = torch.tensor([-2.0, -0.3, 0.0, 0.3, 2.0]), torch.tensor(0.5)
    got = penalties.soft_threshold(weight, threshold)
    assert got.tolist() == [-1.5, 0.0, 0.0, 0.0, 1.5]
    candidates = torch.linspace(-3, 3, 60001)
    cost = 0.5 * (candidates[:, None] - weight) ** 2 + threshold * candidates[:, None].abs()
    assert torch.allclose(candidates[cost.argmin(0)], got, atol=2e-4)


def test_elastic_net_step_shrinks_then_thresholds() -> None:
    parameter = nn.Parameter(torch.tensor([[1.0, -0.1]]))
    l1, l2 = (torch.tensor(s) for s in penalties.strengths("elastic_net", 0.4, 0.25))
    step = torch.tensor(0.5)
    penalties.decoupled_step([parameter], step, l2)
    penalties.proximal_step([parameter], step, l1)
    assert parameter.tolist()[0] == pytest.approx([1.0 * (1 - 2 * 0.5 * 0.3) - 0.05, -0.02])


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [("none", (0, 0)), ("l1", (0.2, 0)), ("l2", (0, 0.2)), ("elastic_net", (0.15, 0.05))],
)
def test_strengths_of_a_penalty(penalty: str, expected: tuple[float, float]) -> None:
    assert penalties.strengths(penalty, 0.2, 0.75) == pytest.approx(expected)


def trained(optimizer: type[torch.optim.Optimizer], coupled: bool) -> torch.Tensor:
    parameter, l2 = nn.Parameter(torch.ones(2, 2)), torch.tensor(0.1)
    optimiser = optimizer(
        [parameter], lr=0.05, **({} if optimizer is torch.optim.SGD else {"weight_decay": 0.0})
    )
    for _ in range(5):
        optimiser.zero_grad()
        (parameter**3).sum().backward()
        if coupled:
            penalties.add_coupled_gradient([parameter], l2)
        else:
            penalties.decoupled_step([parameter], torch.tensor(0.05), l2)
        optimiser.step()
    return parameter.detach()


def test_coupled_and_decoupled_are_the_same_under_plain_sgd_alone() -> None:
    sgd, adamw = torch.optim.SGD, torch.optim.AdamW
    assert torch.allclose(trained(sgd, True), trained(sgd, False), atol=1e-6)
    assert not torch.allclose(trained(adamw, True), trained(adamw, False), atol=1e-3)


def test_value_and_its_gradients_agree_with_the_updates() -> None:
    parameter = nn.Parameter(torch.tensor([[0.5, -2.0]]))
    l1, l2 = torch.tensor(0.3), torch.tensor(0.7)
    penalties.value([parameter], l1, l2).backward()
    assert parameter.grad is not None
    expected, parameter.grad = parameter.grad, torch.zeros_like(parameter)
    penalties.add_subgradient([parameter], l1)
    penalties.add_coupled_gradient([parameter], l2)
    assert torch.allclose(parameter.grad, expected)


def test_biases_and_norms_are_not_penalised_and_zeros_are_counted() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    chosen = penalties.penalised_parameters(model)
    assert [tuple(p.shape) for p in chosen] == [(2, 2)]
    with torch.no_grad():
        chosen[0].copy_(torch.tensor([[0.0, 3.0], [0.0, 4.0]]))
    assert penalties.sparsity(chosen) == 0.5
    assert penalties.weight_norm(chosen) == pytest.approx(5.0)
