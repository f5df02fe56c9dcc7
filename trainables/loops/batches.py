"""Batches that a user's loop gives to be measured, and what is predicted of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config.data_info import DataInfo, Kind, Task
from trainables.data.batch import LABELS, Batch
from trainables.data.nests import map_nest
from trainables.data.tasks import guess_task
from trainables.errors import ContractError, blame
from trainables.forward import call_network, read_outputs
from trainables.return_checks import describe_returned


def read_batches(given: Iterable[Any], device: torch.device, *, few: bool) -> Iterator[Batch]:
    """The batches of a user's loader on a device; with ``few`` only the first.

    Raises:
        ContractError: it cannot be iterated over.
    """
    if not isinstance(given, Iterable):
        raise ContractError(
            f"trial.evaluate got {describe_returned(given)} for batches; expected: an iterable of "
            "pairs (x, y), such as a DataLoader",
            "trainable",
        )
    with blame("trainable", "the loader of trial.evaluate"):
        yield from (_read(batch, device) for batch in islice(given, 1 if few else None))


def _read(batch: Any, device: torch.device) -> Batch:
    def move(leaf: Any) -> Any:
        return leaf.to(device) if isinstance(leaf, Tensor) else leaf

    if isinstance(batch, tuple | list) and len(batch) == 2:
        x, y = (map_nest(move, side) for side in batch)
        return Batch(x, y)
    moved = map_nest(move, batch)
    if isinstance(moved, Mapping) and LABELS in moved:
        return Batch(moved, moved[LABELS])
    return Batch(moved, moved)


@torch.no_grad()
def guess_info(model: nn.Module, batch: Batch) -> DataInfo:
    """What is predicted, by the targets of a batch and the network's outputs."""
    targets = batch.y.cpu().numpy() if isinstance(batch.y, Tensor) else batch.y
    task, outputs = guess_task(targets), 1
    was_training = model.training
    try:
        with blame("trainable", "the network's forward, on a batch of trial.evaluate,"):
            made = read_outputs(call_network(model.eval(), batch.x))
    finally:
        model.train(was_training)
    if isinstance(made, Tensor) and made.ndim > 1:
        outputs = int(made.shape[1 if task is Task.CLASSIFICATION else -1])
    if task is Task.CLASSIFICATION and outputs == 1:
        outputs = 2  # one logit of two classes
    return DataInfo((), task, outputs, Kind.OTHER)
