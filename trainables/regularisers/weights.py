"""Selects the weights that penalties act on: kernels and matrices by default."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from trainables.config.training import Selection
from trainables.data.nests import Nest
from trainables.errors import ContractError
from trainables.forward import call_network

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_CONTAINERS = (nn.ParameterList, nn.ParameterDict)
_NO_MATRIX = re.compile(r"token|scale|gamma|beta|(^|_)(cls|pos)", re.IGNORECASE)
"""Names of a module's own parameters that are added or multiplied, whatever their dimensions."""
_PARAMETRISED = "parametrizations"
_OLD_PARTS = ("_g", "_v", "_orig")
_SHOWN = 4


@dataclass(frozen=True)
class Penalised:
    """A weight tensor that penalties act on.

    ``unit_axis`` is the axis of its units (rows of a linear layer, output channels of a kernel),
    each with one entry of ``bias`` if there is one; None if it has no units. A ``derived`` one is
    what a parametrisation such as weight_norm computes the network's weight from.
    """

    name: str
    weight: Tensor
    bias: Tensor | None = None
    factor: float = 1.0
    unit_axis: int | None = 0
    derived: bool = False

    @property
    def unit_size(self) -> int:
        """The entries of a unit, without its bias."""
        assert self.unit_axis is not None
        return self.weight.numel() // self.weight.shape[self.unit_axis]

    def to_units(self, values: Tensor) -> Tensor:
        """Values of the weight's shape, or that expand to it, as rows of units ``(units, n)``."""
        assert self.unit_axis is not None
        return values.expand_as(self.weight).movedim(self.unit_axis, 0).flatten(1)

    def from_units(self, rows: Tensor) -> Tensor:
        """Rows of units ``(units, n)``, or that expand to it, in the shape of the weight."""
        assert self.unit_axis is not None
        shape = self.weight.movedim(self.unit_axis, 0).shape
        return rows.expand(-1, self.unit_size).view(shape).movedim(0, self.unit_axis)

    def spread(self, strength: Tensor) -> Tensor:
        """A strength of the whole weight in a shape that broadcasts with rows of units."""
        return strength

    def find_any(self, units: Tensor) -> Tensor:
        """Whether something is true of any of the units ``(units, 1)``, 0-dim."""
        return units.any()


@dataclass(frozen=True)
class _Place:
    """A parameter in one of the modules that own it; a tied one has several."""

    name: str
    module_name: str
    module: nn.Module
    own: str
    parameter: nn.Parameter

    @property
    def is_matrix(self) -> bool:
        """Whether it is a matrix or kernel: neither a bias, nor of a norm, nor a token."""
        shape, kind = self.parameter.shape, type(self.module)
        if len(shape) < 2 or "bias" in self.own or isinstance(self.module, _NORMS):
            return False
        if kind.__module__.startswith("torch.nn.") and not isinstance(self.module, _CONTAINERS):
            return True
        if "norm" in kind.__name__.lower() or _NO_MATRIX.search(self.own):
            return False
        is_named = "weight" in self.own or "kernel" in self.own
        return is_named or (shape[0] > 1 and sum(size > 1 for size in shape) > 1)

    @property
    def unit_axis(self) -> int | None:
        """The axis of its units."""
        return int(isinstance(self.module, _TRANSPOSED)) if self.parameter.ndim >= 2 else None

    @property
    def bias(self) -> nn.Parameter | None:
        """The trained bias with one entry for each of its units."""
        bias = getattr(self.module, "bias", None) if self.own == "weight" else None
        axis = self.unit_axis
        fits = (
            isinstance(bias, nn.Parameter)
            and bias.requires_grad
            and axis is not None
            and bias.shape == (self.parameter.shape[axis],)
        )
        return bias if fits else None

    @property
    def is_derived(self) -> bool:
        """Whether the network computes with another weight, which is computed from this one."""
        if _PARAMETRISED in self.name.split("."):
            return True
        base = next((self.own.removesuffix(p) for p in _OLD_PARTS if self.own.endswith(p)), "")
        return bool(base) and base not in self.module._parameters and hasattr(self.module, base)


def select_penalised(
    model: nn.Module, selection: Selection, last_layer: str | None = None
) -> list[Penalised]:
    """Trained matrices and kernels and included parameters, without excluded ones.

    What a parameter is comes from the module that owns it; of a tied one, the strictest of its
    places counts. The units of ``last_layer`` are the network's outputs, which no penalty on units
    may remove.

    Raises:
        ContractError: a pattern matches no parameter.
    """
    tied = _list_places(model)
    names = [place.name for places in tied for place in places]
    for pattern in (*selection.include, *selection.exclude, *selection.scale):
        if not any(_matches(name, pattern) for name in names):
            raise ContractError(
                f"no parameter matches {pattern!r}; valid: "
                f"{', '.join(names[:12])}{', …' if len(names) > 12 else ''}",
                "training.penalised",
            )
    return [
        _describe(places, selection, last_layer)
        for places in tied
        if places[0].parameter.requires_grad and _is_selected(places, selection)
    ]


def have_units_in_rows(weights: Sequence[Penalised]) -> bool:
    """Whether the entries of each unit lie one after the other, in all weights that have units."""
    return all(w.unit_axis in (0, None) and w.weight.is_contiguous() for w in weights)


def explain_derived(weights: Sequence[Penalised]) -> str | None:
    """Why a penalty cannot act on these weights, for the user; None if it can."""
    derived = [w.name for w in weights if w.derived]
    if not derived:
        return None
    owners = dict.fromkeys(re.sub(rf"\.({_PARAMETRISED}\..*|\w+)$", "", n) for n in derived)
    excluded = ", ".join(repr(owner) for owner in list(owners)[:_SHOWN])
    return (
        f"{', '.join(derived[:_SHOWN])} are parts of a parametrisation (weight_norm, spectral_norm "
        "…): a penalty on them is none on the weight that the network computes with; remove it, or "
        f"set `training.penalised: {{exclude: [{excluded}]}}`"
    )


def _describe(places: Sequence[_Place], selection: Selection, last_layer: str | None) -> Penalised:
    axes = {None if p.module_name == last_layer else p.unit_axis for p in places}
    first = places[0]
    return Penalised(
        first.name,
        first.parameter,
        None if axes == {None} or len(places) > 1 else first.bias,
        min(_find_factor(p.name, selection) for p in places),
        axes.pop() if len(axes) == 1 else None,
        any(p.is_derived for p in places),
    )


@torch.no_grad()
def find_last_layer(model: nn.Module, x: Nest) -> str | None:
    """The module with weights that runs last in a forward pass. Leaves eval mode on."""
    seen: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
        for name, module in model.named_modules()
        if any(p.ndim >= 2 for p in module.parameters(recurse=False))
    ]
    try:
        call_network(model.eval(), x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1] if seen else None


def _list_places(model: nn.Module) -> list[list[_Place]]:
    """The places of every parameter; each parameter once."""
    places: dict[nn.Parameter, list[_Place]] = {}
    for module_name, module in model.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            name = f"{module_name}.{own}" if module_name else own
            place = _Place(name, module_name, module, own, parameter)
            places.setdefault(parameter, []).append(place)
    return list(places.values())


def _is_selected(places: Sequence[_Place], selection: Selection) -> bool:
    def match(patterns: Iterable[str]) -> bool:
        return any(_matches(place.name, pattern) for place in places for pattern in patterns)

    if match(selection.exclude):
        return False
    return match(selection.include) or all(place.is_matrix for place in places)


def _find_factor(name: str, selection: Selection) -> float:
    """The factor of the last pattern that matches the name."""
    fitting = [factor for pattern, factor in selection.scale.items() if _matches(name, pattern)]
    return fitting[-1] if fitting else 1.0


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
