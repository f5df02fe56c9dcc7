"""Measures statistics of a trained network by layer: zero weights, dead units, norms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from trainables.analysis.dead_units import DeadUnits
from trainables.analysis.effective_parameters import EffectiveParameters
from trainables.analysis.layers import find_owner, split_units
from trainables.config.anatomy import Anatomy, LayerAnatomy
from trainables.data.nests import Nest
from trainables.regularisers.weights import Penalised

_OUTPUT_OF_ATTENTION = "out_proj"


def measure_anatomy(
    model: nn.Module, weights: Sequence[Penalised], inputs: Iterable[Nest]
) -> Anatomy:
    """Inspect the weights, and the units' outputs on batches of inputs. Leaves eval mode on."""
    model.eval()
    dead, effective = DeadUnits(model), EffectiveParameters(model)
    for x in inputs:
        dead.add(x)
        effective.add(x)
    with torch.no_grad():
        parameters = list(model.parameters())
        return Anatomy(
            parameters=sum(p.numel() for p in parameters),
            nonzero=sum(int((p != 0).sum()) for p in parameters),
            layers=tuple(_describe(model, w, dead.by_layer) for w in weights),
            effective=effective.count(),
        )


def _describe(model: nn.Module, w: Penalised, dead: Mapping[str, Tensor]) -> LayerAnatomy:
    units = _find_units(model, w, dead)
    return LayerAnatomy(
        name=w.name,
        weights=w.weight.numel(),
        zeros=int((w.weight == 0).sum()),
        norm=float(w.weight.norm()),
        units=0 if units is None else len(units),
        dead=0 if units is None else int(units.sum()),
    )


def _find_units(model: nn.Module, w: Penalised, dead: Mapping[str, Tensor]) -> Tensor | None:
    """Which units that a weight computes are dead; None if it computes none that can be seen."""
    owner = find_owner(w.name)
    above, _, own = owner.rpartition(".")
    if isinstance(model.get_submodule(owner), nn.MultiheadAttention):
        return None  # of queries, keys and values
    if own == _OUTPUT_OF_ATTENTION and owner not in dead:
        owner = above  # attention computes with this layer's weights without calling it
    units = dead.get(owner)
    return None if units is None else split_units(model, w.name, w.weight, units)
