"""The samples of both sides of a gap, where a fit reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset

from trainables.data.nests import Nest, count_samples
from trainables.errors import ContractError
from trainables.loops.lightning.batches import Batches, Given, join_batch
from trainables.loops.trial_data import Loader

Form = Callable[[Nest, Nest], Any]
"""Makes a batch, as the module takes it, of inputs and targets."""


@dataclass(frozen=True)
class Sides:
    """What both sides of a gap are measured on.

    ``given`` are the batches for ``trial.evaluate``; empty for those of the trial's data.
    """

    form: Form = join_batch
    given: Mapping[str, Iterable[Any]] = field(default_factory=dict)


def find_sides(trainer: Any, seed: int) -> Sides:
    """The samples of the loaders that a trainer has.

    Of a user's loaders the training side has as many samples as the validation: of a ``DataLoader``
    of a map-style ``Dataset`` some that are drawn once, by ``seed``; of others the first ones.

    Raises:
        ContractError: a side has several loaders, or its batches cannot be counted.
    """
    train, val = trainer.train_dataloader, trainer.val_dataloaders
    if isinstance(train, Batches):
        return Sides()
    if isinstance(val, list | tuple) and len(val) == 1:
        val = val[0]
    if isinstance(train, Loader) and isinstance(val, Loader):
        return Sides(form=lambda x, y: (x, y))
    for name, loader in (("training", train), ("validation", val)):
        if isinstance(loader, list | tuple | dict) or loader is None:
            raise ContractError(
                f"the fit has no single loader of {name} samples; a gap is between one set of "
                "training samples and one of validation samples",
                "trainable",
            )
    held = sum(len(counted) for _, counted in _read(val))
    train = _choose(train, held, seed)
    return Sides(given={"train": _Reader(train, held), "val": _Reader(val, held)})


class _Reader:
    """The first batches of a loader, of so many samples at least, each with what counts them."""

    def __init__(self, loader: Any, samples: int) -> None:
        self._loader, self._samples = loader, samples

    def __iter__(self) -> Iterator[tuple[Given, Tensor]]:
        seen = 0
        for batch, counted in _read(self._loader):
            yield batch, counted
            seen += len(counted)
            if seen >= self._samples:
                return


def _read(loader: Any) -> Iterator[tuple[Given, Tensor]]:
    for batch in loader:
        try:
            count = count_samples(batch)
        except ValueError as error:
            raise ContractError(
                f"the samples of a batch cannot be counted: {error}", "trainable"
            ) from None
        yield Given(batch), torch.zeros(count)


def _choose(loader: Any, samples: int, seed: int) -> Any:
    """A loader of some of the same samples, in their order."""
    dataset: Any = getattr(loader, "dataset", None)
    if type(loader) is not DataLoader or isinstance(dataset, IterableDataset):
        return loader
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randperm(len(dataset), generator=generator)[:samples].sort().values
    return DataLoader(
        Subset(dataset, picked.tolist()), loader.batch_size or 1, collate_fn=loader.collate_fn
    )
