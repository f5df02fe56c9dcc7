"""Finds which columns of a table a trained network reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainables.analysis.layers import Layer, watch_layers
from trainables.config.data_info import Kind
from trainables.config.input_columns import KeptColumns
from trainables.data.nests import Nest, list_leaves, map_nest
from trainables.data.splits import Splits
from trainables.data.table_columns import name_columns, read_columns
from trainables.errors import ContractError, TrainableError, blame, locate
from trainables.forward import call_network, read_outputs
from trainables.run import Run

_ROWS = 1024
_UNKNOWN = "the network's first layer cannot be determined: "


def find_kept_columns(run: Run, splits: Splits) -> KeptColumns | None:
    """The columns that the network keeps, at its present weights; None if the inputs are no table.

    A column is kept if some weight out of it is not zero: in the first layers, which take the
    inputs without another layer with weights before them, or on a way around all layers. What the
    network does to the inputs before, such as normalising them, is followed. A column of categories
    is kept if any of them is.
    """
    if splits.info.kind is not Kind.TABLE:
        return None
    (features,) = splits.info.input_shape
    columns = read_columns(splits.preprocessing) or name_columns(features, torch.zeros(features))
    try:
        with locate("val"), blame("trainable", "the network's forward"):
            used = _find_used(run)
    except TrainableError as error:
        return KeptColumns(columns.names, reason=f"{_UNKNOWN}{error}")
    kept = torch.zeros(len(columns.names), dtype=torch.bool)
    kept[columns.owner[used.cpu()]] = True
    return KeptColumns(columns.names, tuple(kept.tolist()))


def _find_used(run: Run) -> Tensor:
    x: Tensor = next(run.data.val.read(min(_ROWS, run.training.eval_batch_size)))[0]
    x = x[:_ROWS]
    with run.autocast():
        used = find_used_features(run.model, x)
        if used is None:
            raise ContractError("its inputs have no derivative")
        if _differs(run.model, x, used):
            raise ContractError("the outputs depend on columns by which they have no derivative")
    return used


def find_used_features(model: nn.Module, x: Tensor) -> Tensor | None:
    """Which features of inputs ``(N, features)`` have a weight that is not zero; None if unknown.

    The derivative of the first layers' outputs, weighted at random, by a feature is exactly 0 for
    all samples if and only if all its weights are 0. Leaves eval mode on.
    """
    generator, sums = torch.Generator().manual_seed(0), []
    x = x.detach().clone().requires_grad_()

    def add(nest: Nest) -> None:
        for leaf in list_leaves(nest):
            if leaf.requires_grad:
                weights = torch.randn(leaf.shape, generator=generator)
                sums.append((leaf * weights.to(leaf.device, leaf.dtype)).sum())

    def cut(_layer: Layer, made: Any) -> Any:
        add(made)
        return map_nest(lambda leaf: leaf.detach().clone(), made)  # it may be changed in place

    with torch.enable_grad(), _freeze(model), watch_layers(model.eval(), cut):
        add(read_outputs(call_network(model, x)))
        if not sums:
            return None
        (found,) = torch.autograd.grad(sum(sums), [x], allow_unused=True)
    return None if found is None else (found != 0).any(0)


@contextmanager
def _freeze(model: nn.Module) -> Iterator[None]:
    """No parameter has a derivative in the block, so that only the inputs have."""
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@torch.no_grad()
def _differs(model: nn.Module, x: Tensor, used: Tensor) -> bool:
    """Whether the outputs change if all features that are not used get the values of other rows."""
    if bool(used.all()):
        return False
    other = torch.where(used, x, x.roll(1, 0) + 1)
    pairs = zip(
        *(list_leaves(read_outputs(call_network(model, v))) for v in (x, other)), strict=True
    )
    return any(not torch.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True) for a, b in pairs)
