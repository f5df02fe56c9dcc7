"""Selects the weights that penalties act on: kernels and matrices by default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from trainables.config.training import Selection
from trainables.errors import ContractError

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Penalised:
    """A weight tensor that penalties act on.

    ``unit_axis`` is the axis of its units (rows of a linear layer, output channels of a kernel),
    each with one entry of ``bias`` if there is one; None if it has no units.
    """

    name: str
    weight: Tensor
    bias: Tensor | None = None
    factor: float = 1.0
    unit_axis: int | None = 0


def select_penalised(
    model: nn.Module, selection: Selection, last_layer: str | None = None
) -> list[Penalised]:
    """Trained weights of two or more dimensions and included ones, without excluded ones.

    The units of ``last_layer`` are the network's outputs, which no penalty on units may remove.

    Raises:
        ContractError: a pattern matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in (*selection.include, *selection.exclude, *selection.scale):
        if not any(_matches(name, pattern) for name in names):
            raise ContractError(
                f"no parameter matches {pattern!r}; valid: "
                f"{', '.join(names[:12])}{', …' if len(names) > 12 else ''}",
                "training.penalised",
            )
    return [
        Penalised(
            name,
            weight,
            None if axis is None else bias,
            _find_factor(name, selection),
            None if module == last_layer else axis,
        )
        for name, module, weight, bias, axis in _list_parameters(model)
        if weight.requires_grad and _is_selected(name, weight, selection)
    ]


@torch.no_grad()
def find_last_layer(model: nn.Module, x: Tensor) -> str | None:
    """The module with weights that runs last in a forward pass. Leaves eval mode on."""
    seen: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
        for name, module in model.named_modules()
        if any(p.ndim >= 2 for p in module.parameters(recurse=False))
    ]
    try:
        model.eval()(x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1] if seen else None


def _list_parameters(
    model: nn.Module,
) -> Iterator[tuple[str, str, nn.Parameter, nn.Parameter | None, int | None]]:
    """All parameters once, as (name, module name, parameter, bias of its units, unit axis)."""
    seen: set[nn.Parameter] = set()
    for module_name, module in model.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            if parameter in seen:  # tied weights
                continue
            seen.add(parameter)
            name = f"{module_name}.{own}" if module_name else own
            axis = int(isinstance(module, _TRANSPOSED)) if parameter.ndim >= 2 else None
            bias = getattr(module, "bias", None) if own == "weight" else None
            fits = (
                isinstance(bias, nn.Parameter)
                and axis is not None
                and bias.shape == (parameter.shape[axis],)
            )
            yield name, module_name, parameter, bias if fits else None, axis


def _is_selected(name: str, weight: Tensor, selection: Selection) -> bool:
    if any(_matches(name, pattern) for pattern in selection.exclude):
        return False
    return weight.ndim >= 2 or any(_matches(name, pattern) for pattern in selection.include)


def _find_factor(name: str, selection: Selection) -> float:
    """The factor of the last pattern that matches the name."""
    fitting = [factor for pattern, factor in selection.scale.items() if _matches(name, pattern)]
    return fitting[-1] if fitting else 1.0


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
