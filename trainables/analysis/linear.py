"""The largest useful λ of a linear model, from its data."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trainables.data.array_samples import ArraySamples
from trainables.data.batch import Batch
from trainables.errors import blame
from trainables.forward import call_network, read_outputs
from trainables.run import Run

_ROWS = 20_000
_FEW = 16
_STEPS = 100


def find_largest(run: Run) -> float | None:
    """The smallest λ of L1 at which all coefficients are 0; None if the model is not linear.

    It is the largest entry of the loss's gradient at zero coefficients, with intercepts fitted
    (Friedman et al. 2010, Regularization paths for generalized linear models, section 2.5). Of
    more than 20,000 training samples the first ones are used.

    Raises:
        ContractError: user-defined code failed.
    """
    samples = run.data.train
    if len(run.penalised) != 1 or not isinstance(samples, ArraySamples):
        return None
    model = copy.deepcopy(run.model).eval()
    with blame("trainable"):
        if not _is_affine(model, samples.head(_FEW)[0]):
            return None
        weight = dict(model.named_parameters())[run.penalised[0].name]
        batch = Batch(*samples.head(_ROWS))
        with torch.no_grad():
            weight.zero_()
        _fit_others(run, model, weight, batch)
        loss = run.trainable.step(model, batch)
        (gradient,) = torch.autograd.grad(loss, weight)
    factor = run.penalised[0].factor
    return float(gradient.abs().max()) / factor if factor else None


@torch.no_grad()
def _is_affine(model: nn.Module, x: object) -> bool:
    """Whether outputs follow a line between two inputs, and beyond."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or len(x) < 2:
        return False
    half = len(x) // 2
    a, b = x[:half], x[half : 2 * half]
    at_a, at_b, beyond = (read_outputs(call_network(model, v)) for v in (a, b, 3 * a - 2 * b))
    if not all(isinstance(v, Tensor) for v in (at_a, at_b, beyond)):
        return False
    return torch.allclose(beyond, 3 * at_a - 2 * at_b, rtol=1e-3, atol=1e-4)


def _fit_others(run: Run, model: nn.Module, weight: Tensor, batch: Batch) -> None:
    """Fit all parameters but the weight."""
    others = [p for p in model.parameters() if p.requires_grad and p is not weight]
    if not others:
        return
    optimizer = torch.optim.LBFGS(others, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def measure() -> Tensor:
        optimizer.zero_grad()
        loss = run.trainable.step(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(measure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
