"""L1, L2 and elastic net as pure functions over ``l1`` and ``l2``, 0-dim tensors.

The penalty is ``l1·Σ|w| + l2·Σw²``; ``weight_decay`` of torch's optimisers is thus ``2·l2``. It
acts on weight matrices and kernels; biases and normalisation parameters, which have fewer than
two dimensions, are left out. Strengths are values, never branches: zero does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Parameters = Sequence[Tensor]


def strengths(penalty: str, lam: float, l1_ratio: float) -> tuple[float, float]:
    """``(l1, l2)`` of a penalty's name, λ and mixing ratio.

    Raises:
        ValueError: no such penalty.
    """
    match penalty:
        case "none":
            return 0.0, 0.0
        case "l1":
            return lam, 0.0
        case "l2":
            return 0.0, lam
        case "elastic_net":
            return lam * l1_ratio, lam * (1.0 - l1_ratio)
    raise ValueError(f"penalty {penalty!r} is not one of none, l1, l2, elastic_net")


def penalised_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Weight matrices and kernels that are trained."""
    return [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]


def value(parameters: Parameters, l1: Tensor, l2: Tensor) -> Tensor:
    """``l1·Σ|w| + l2·Σw²``, a 0-dim tensor."""
    absolute = sum((p.abs().sum() for p in parameters), start=torch.zeros_like(l1))
    squared = sum((p.square().sum() for p in parameters), start=torch.zeros_like(l2))
    return l1 * absolute + l2 * squared


def soft_threshold(weight: Tensor, threshold: Tensor) -> Tensor:
    """``sign(w)·max(|w| − threshold, 0)``, the proximal operator of ``threshold·|w|``.

    Parikh & Boyd 2014, Proximal Algorithms, section 6.5.2.
    """
    return weight.sign() * (weight.abs() - threshold).clamp(min=0)


@torch.no_grad()
def proximal_step(parameters: Parameters, step: Tensor, l1: Tensor) -> None:
    """Soft-threshold in place by ``step·l1``, after the optimiser's step: exact zeros."""
    for parameter in parameters:
        parameter.copy_(soft_threshold(parameter, step * l1))


@torch.no_grad()
def decoupled_step(parameters: Parameters, step: Tensor, l2: Tensor) -> None:
    """Shrink in place by ``1 − 2·step·l2``, never past zero.

    Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2.
    """
    factor = (1 - 2 * step * l2).clamp(min=0)
    for parameter in parameters:
        parameter.mul_(factor)


@torch.no_grad()
def add_coupled_gradient(parameters: Parameters, l2: Tensor) -> None:
    """Add ``2·l2·w``, the gradient of ``l2·Σw²``, before the optimiser's step."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.add_(2 * l2 * parameter)


@torch.no_grad()
def add_subgradient(parameters: Parameters, l1: Tensor) -> None:
    """Add ``l1·sign(w)``, a subgradient of ``l1·Σ|w|``. It reaches no exact zero."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.add_(l1 * parameter.sign())


@torch.no_grad()
def sparsity(parameters: Parameters) -> float:
    """The share of weights that are exactly zero, 0 where there are none."""
    total = sum(p.numel() for p in parameters)
    zeros = sum(int((p == 0).sum()) for p in parameters)
    return zeros / total if total else 0.0


@torch.no_grad()
def weight_norm(parameters: Parameters) -> float:
    """``sqrt(Σw²)``."""
    if not parameters:
        return 0.0
    return float(torch.linalg.vector_norm(torch.stack([p.norm() for p in parameters])))
