"""Whether a training step uses what regularisers change in a batch, by what it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from trainables.analysis.random_draws import duplicate, keep_generators, seed_all
from trainables.config.regularisers import RegulariserConfig
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.nests import list_leaves, map_nest
from trainables.errors import blame
from trainables.loop import TrainingRun
from trainables.regularisers.base import Need, Regulariser

_FEW = 8


def find_unread(configs: Iterable[RegulariserConfig], run: TrainingRun) -> Mapping[str, str]:
    """Why the training step ignores what regularisers change in a batch, by key of the space.

    Raises:
        ContractError: the step fails on such a batch.
    """
    batch = Batch(*run.data.train.head(_FEW))
    found = {c.key: _explain_unread(c.build(), run.trainable, run.model, batch) for c in configs}
    return {key: text for key, text in found.items() if text}


def _explain_unread(
    regulariser: Regulariser, trainable: Trainable, model: nn.Module, batch: Batch
) -> str | None:
    order = torch.arange(len(batch) - 1, -1, -1)
    other = map_nest(lambda y: y[order.to(y.device)], batch.y)
    pairs = zip(list_leaves(batch.y), list_leaves(other), strict=True)
    differs = any(not torch.equal(one, another) for one, another in pairs)
    changed = {
        Need.SMOOTHING: replace(batch, smoothing=0.5),
        Need.MIXING: replace(batch, other_y=other, share=torch.tensor(0.3)) if differs else None,
    }
    for need, given in changed.items():
        if need in regulariser.needs and given is not None:
            name = type(trainable).__name__
            with blame("", f"the training step of {name} with such a batch"):
                plain, regularised = (_compute_loss(trainable, model, b) for b in (batch, given))
            if torch.equal(plain, regularised):
                return f"requires {need.value}; that of {name} ignores it: {_explain(trainable)}"
    return None


def _explain(trainable: Trainable) -> str:
    if type(trainable).step is not Trainable.step:
        return "it is an override that does not use it"
    return "the network computes the loss itself; name a loss by training.loss"


def _compute_loss(trainable: Trainable, model: nn.Module, batch: Batch) -> Tensor:
    with keep_generators(batch):
        own, network, given = duplicate(trainable, model.eval(), batch)
        seed_all(own, network, 0)
        return torch.as_tensor(own.step(network, given)).detach()
