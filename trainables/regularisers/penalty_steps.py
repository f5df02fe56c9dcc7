"""The updates of penalties, as functions of the weights and 0-dim strengths.

The penalty is ``l1·Σ|w| + l2·Σw² + group·Σ_u √n_u·‖w_u‖``, the last over units ``u`` of ``n_u``
parameters each; ``weight_decay`` of torch's optimisers is thus ``2·l2``. Every weight tensor has a
factor on all three. Strengths are values, never branches: a strength of zero changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.regularisers.weights import Penalised

Weights = Sequence[Penalised]


def soft_threshold(weight: Tensor, threshold: Tensor) -> Tensor:
    """``sign(w)·max(|w| − threshold, 0)``, the proximal operator of ``threshold·|w|``.

    Parikh & Boyd 2014, Proximal Algorithms, section 6.5.2.
    """
    return weight.sign() * (weight.abs() - threshold).clamp(min=0)


@torch.no_grad()
def apply_proximal_step(weights: Weights, steps: Sequence[Tensor], l1: Tensor) -> None:
    """Soft-threshold in place by ``step·l1``, after the optimiser's step; gives exact zeros.

    There is one step per weight tensor, 0-dim or of its shape.
    """
    for w, step in zip(weights, steps, strict=True):
        w.weight.copy_(soft_threshold(w.weight, step * l1 * w.factor))


@torch.no_grad()
def apply_group_step(weights: Weights, step: Tensor, group: Tensor) -> None:
    """Shrink every unit and its bias towards zero by ``step·group·√n``; makes whole units 0.

    The proximal operator of ``√n·‖u‖``: Yuan & Lin 2006, Model selection and estimation in
    regression with grouped variables; Parikh & Boyd 2014, section 6.5.1.
    """
    for w in weights:
        if w.unit_axis is not None:
            norms = compute_unit_norms(w)
            threshold = step * group * w.factor * _count_unit_parameters(w) ** 0.5
            _scale_units(w, (1 - threshold / norms.clamp(min=1e-30)).clamp(min=0), bias=True)


@torch.no_grad()
def apply_max_norm(weights: Weights, limit: Tensor) -> Tensor:
    """Project the weights of every unit, without bias, onto ``‖w_u‖ ≤ limit``. Srivastava 2014.

    Returns whether a unit exceeded the limit, 0-dim.
    """
    exceeded = []
    for w in weights:
        if w.unit_axis is not None:
            norms = compute_unit_norms(w, bias=False).clamp(min=1e-30)
            exceeded.append((norms > limit).any())
            _scale_units(w, (limit / norms).clamp(max=1), bias=False)
    return torch.stack(exceeded).any() if exceeded else torch.tensor(False)


@torch.no_grad()
def apply_decoupled_decay(weights: Weights, step: Tensor, l2: Tensor) -> None:
    """Shrink in place by ``1 − 2·step·l2``, never past zero, before the optimiser's step.

    Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2.
    """
    for w in weights:
        w.weight.mul_((1 - 2 * step * l2 * w.factor).clamp(min=0))


@torch.no_grad()
def add_coupled_gradient(weights: Weights, l2: Tensor) -> None:
    """Add ``2·l2·w``, the gradient of ``l2·Σw²``, before the optimiser's step."""
    for w in weights:
        if w.weight.grad is not None:
            w.weight.grad.add_(2 * l2 * w.factor * w.weight)


@torch.no_grad()
def add_subgradient(weights: Weights, l1: Tensor) -> None:
    """Add ``l1·sign(w)``, a subgradient of ``l1·Σ|w|``. It does not reach exact zeros."""
    for w in weights:
        if w.weight.grad is not None:
            w.weight.grad.add_(l1 * w.factor * w.weight.sign())


def compute_unit_norms(w: Penalised, *, bias: bool = True) -> Tensor:
    """``‖w_u‖`` of every unit ``(units,)``, including its bias if there is one."""
    assert w.unit_axis is not None
    squares = w.weight.movedim(w.unit_axis, 0).flatten(1).square().sum(1)
    if bias and w.bias is not None:
        squares = squares + w.bias.square()
    return squares.sqrt()


@torch.no_grad()
def measure_sparsity(weights: Weights) -> float:
    """The fraction of weights that are exactly zero; 0 without weights."""
    total = sum(w.weight.numel() for w in weights)
    zeros = sum(int((w.weight == 0).sum()) for w in weights)
    return zeros / total if total else 0.0


@torch.no_grad()
def measure_weight_norm(weights: Weights) -> float:
    """``sqrt(Σw²)``."""
    if not weights:
        return 0.0
    return float(torch.linalg.vector_norm(torch.stack([w.weight.norm() for w in weights])))


def _count_unit_parameters(w: Penalised) -> float:
    """The number of parameters of a unit, including its bias."""
    assert w.unit_axis is not None
    return w.weight.numel() / w.weight.shape[w.unit_axis] + (w.bias is not None)


def _scale_units(w: Penalised, scale: Tensor, *, bias: bool) -> None:
    assert w.unit_axis is not None
    shape = [1] * w.weight.ndim
    shape[w.unit_axis] = -1
    w.weight.mul_(scale.view(shape))
    if bias and w.bias is not None:
        w.bias.mul_(scale)
