"""The updates of penalties, as functions of the weights and 0-dim strengths.

The penalty is ``l1·Σ|w| + l2·Σw² + group·Σ_u √n_u·‖w_u‖``, the last over units ``u`` of ``n_u``
parameters each; ``weight_decay`` of torch's optimisers is thus ``2·l2``. Every weight tensor has a
factor on all three. Strengths are values, never branches: a strength of zero changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.regularisers.weights import Penalised

Weights = Sequence[Penalised]
_NEWTON_STEPS = 8


def soft_threshold_(weight: Tensor, threshold: Tensor) -> Tensor:
    """``sign(w)·max(|w| − threshold, 0)`` in place, the proximal operator of ``threshold·|w|``.

    Parikh & Boyd 2014, Proximal Algorithms, section 6.5.2.
    """
    return weight.sub_(weight.clamp(-threshold, threshold))


@torch.no_grad()
def apply_proximal_step(w: Penalised, step: Tensor, l1: Tensor, l2: Tensor | None) -> None:
    """Soft-threshold in place by ``step·l1`` and divide by ``1 + 2·step·l2``; gives exact zeros.

    The proximal operator of ``l1·|w| + l2·w²`` in the metric of ``step``, 0-dim or of the weight's
    shape, after the optimiser's step; without ``l2`` that of ``l1·|w|``.
    """
    soft_threshold_(w.weight, step * (l1 * w.factor))
    if l2 is not None:
        w.weight.div_((step * (2 * l2 * w.factor)).add_(1))


@torch.no_grad()
def apply_group_step(w: Penalised, step: Tensor, bias_step: Tensor, group: Tensor) -> None:
    """Shrink every unit and its bias towards zero; makes whole units 0.

    The proximal operator of ``group·√n·‖u‖`` in the metric of the steps, each 0-dim or of the shape
    of what it is for. Yuan & Lin 2006, Model selection and estimation in regression with grouped
    variables; for one step of all Parikh & Boyd 2014, section 6.5.1.
    """
    values, steps = w.to_units(w.weight), w.to_units(step)
    if w.bias is not None:
        values = torch.cat([values, w.bias.reshape(-1, 1)], 1)
        steps = torch.cat([steps, bias_step.expand_as(w.bias).reshape(-1, 1)], 1)
    shrunk = shrink_units(values, steps, _scale_group(w, group))
    w.weight.copy_(w.from_units(shrunk[:, : w.unit_size]))
    if w.bias is not None:
        w.bias.copy_(shrunk[:, -1].view_as(w.bias))


@torch.no_grad()
def measure_group_gradient(w: Penalised, group: Tensor) -> tuple[Tensor, Tensor]:
    """``group·√n·|w|/‖u‖`` of every entry of the weight and of its bias; 0 where the unit is 0."""
    norms = compute_unit_norms(w).clamp(min=torch.finfo(w.weight.dtype).tiny)
    scale = _scale_group(w, group)
    weight = w.from_units(w.to_units(w.weight).abs() / norms * scale)
    if w.bias is None:
        return weight, norms * scale
    return weight, (w.bias.reshape(-1, 1).abs() / norms * scale).view_as(w.bias)


def shrink_units(values: Tensor, steps: Tensor, strength: Tensor) -> Tensor:
    """``argmin_w Σ (w − v)²/(2·step) + strength·‖w‖`` of every row ``(units, n)``.

    A row is 0 where ``‖v/step‖ ≤ strength``. Others are ``v·r/(r + step·strength)``, with the norm
    ``r`` of the result from ``1/‖v/(r + step·strength)‖ = 1``: the left side is concave and grows,
    so that Newton's steps approach the root from a bound below it (Moré & Sorensen 1983, Computing
    a trust region step). With equal steps the bound ``‖v‖ − step·strength`` is exact.
    """
    shift = (steps * strength).clamp(min=torch.finfo(values.dtype).tiny)
    longest = values.norm(dim=1, keepdim=True) - shift.amax(1, keepdim=True)
    norm = torch.maximum(longest, (values.abs() - shift).amax(1, keepdim=True)).clamp(min=0)
    for _ in range(_NEWTON_STEPS):
        ratios = values / (norm + shift)
        length = ratios.norm(dim=1, keepdim=True)
        slope = (ratios.square() / (norm + shift)).sum(1, keepdim=True)
        norm = (norm + (length - 1) * length.square() / slope).clamp(min=0).nan_to_num(0.0)
    return values * (norm / (norm + shift))


@torch.no_grad()
def apply_max_norm(weights: Weights, limit: Tensor) -> Tensor:
    """Project the weights of every unit, without bias, onto ``‖w_u‖ ≤ limit``. Srivastava 2014.

    Returns whether a unit exceeded the limit, 0-dim.
    """
    exceeded = []
    for w in weights:
        if w.unit_axis is not None:
            norms, most = compute_unit_norms(w, bias=False).clamp(min=1e-30), w.spread(limit)
            exceeded.append(w.find_any(norms > most))
            w.weight.mul_(w.from_units((most / norms).clamp(max=1)))
    return torch.stack(exceeded).any(0) if exceeded else torch.tensor(False)


@torch.no_grad()
def apply_decoupled_decay(w: Penalised, step: Tensor, l2: Tensor) -> None:
    """Shrink in place by ``1 − 2·step·l2``, never past zero, before the optimiser's step.

    Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2.
    """
    w.weight.mul_((1 - step * (2 * l2 * w.factor)).clamp_(min=0))


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
    """``‖w_u‖`` of every unit ``(units, 1)``, including its bias if there is one."""
    squares = w.to_units(w.weight).square().sum(1, keepdim=True)
    if bias and w.bias is not None:
        squares = squares + w.bias.reshape(-1, 1).square()
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


def _scale_group(w: Penalised, group: Tensor) -> Tensor:
    """``group·√n`` of units of n parameters, including their biases, times the weight's factor."""
    root = math.sqrt(w.unit_size + (w.bias is not None))
    return w.spread(group) * w.factor * root
