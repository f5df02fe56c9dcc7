"""Which regularisers a network and its data cannot have, and why."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from trainables.config.data_info import DataInfo, Kind, Task
from trainables.config.training import Regularisation
from trainables.regularisers.dropout import activations, depth_layers, dropout_layers


def misfits(
    regularisation: Regularisation, info: DataInfo, model: nn.Module
) -> Iterator[tuple[str, str]]:
    """Names of parameters that are set and cannot work here, each with what to do."""
    r = regularisation
    if r.dropout and not dropout_layers(model):
        yield "dropout", _without_dropout(model)
    if r.stochastic_depth and not depth_layers(model):
        yield (
            "stochastic_depth",
            "the network has no layer of class StochasticDepth or DropPath to set the rate of",
        )
    if info.kind is not Kind.IMAGE:
        for name in ("random_erasing", "cutmix"):
            if getattr(r, name):
                yield name, f"it is for images; the inputs are a {info.kind}"
    if r.label_smoothing and info.task is not Task.CLASSIFICATION:
        yield "label_smoothing", f"it is for classification; the task is {info.task}"


def _without_dropout(model: nn.Module) -> str:
    follow = activations(model)
    where = f", for instance after {', '.join(follow[:6])}" if follow else ""
    return f"the network has no dropout layer; add torch.nn.Dropout() to it{where}"
