"""The samples of both sides of a gap, where a fit reads the loaders of the user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, IterableDataset, Subset

from trainables.data.nests import count_samples
from trainables.errors import ContractError
from trainables.loops.lightning.batches import Batches, Given

if TYPE_CHECKING:
    from trainables.loops.trial import Trial


def list_sides(trainer: Any, trial: Trial) -> dict[str, Any]:
    """``train`` and ``val`` for ``trial.evaluate``: empty where the fit reads the trial's data.

    Of a user's loaders the training side is as many samples as the validation has, without its
    order and its sampler.

    Raises:
        ContractError: there are several loaders of validation samples, or no batch can be counted.
    """
    train, val = trainer.train_dataloader, trainer.val_dataloaders
    if isinstance(val, list | tuple) and len(val) == 1:
        val = val[0]
    if isinstance(train, Batches):
        return {}
    for name, given in (("train_dataloader", train), ("val_dataloader", val)):
        if isinstance(given, list | tuple | dict) or given is None:
            raise ContractError(
                f"the fit has no single {name}; a gap is between one set of training samples and "
                "one of validation samples",
                "trainable",
            )
    held = sum(len(y) for _, y in (batch for batch in _read(val)))
    return {"train": _Limited(_measure_loader(train, held, trial.seed), held), "val": _Read(val)}


class _Read:
    """The batches of a loader, each as its inputs and what counts its samples."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        return _read(self._loader)


class _Limited(_Read):
    """The first batches of a loader, of so many samples at least."""

    def __init__(self, loader: Any, samples: int) -> None:
        super().__init__(loader)
        self._samples = samples

    def __iter__(self) -> Iterator[Any]:
        seen = 0
        for x, y in super().__iter__():
            yield x, y
            seen += len(y)
            if seen >= self._samples:
                return


def _read(loader: Any) -> Iterator[tuple[Given, torch.Tensor]]:
    for batch in loader:
        try:
            count = count_samples(batch)
        except ValueError as error:
            raise ContractError(f"a batch of the fit cannot be counted: {error}") from None
        yield Given(batch), torch.zeros(count)


def _measure_loader(loader: Any, samples: int, seed: int) -> Any:
    """A loader of some of the same samples, drawn once, in their order."""
    dataset = getattr(loader, "dataset", None)
    if type(loader) is not DataLoader or isinstance(dataset, IterableDataset) or dataset is None:
        return loader
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(dataset), generator=generator)[:samples].sort().values
    return DataLoader(
        Subset(dataset, order.tolist()),
        batch_size=loader.batch_size or 1,
        collate_fn=loader.collate_fn,
        num_workers=0,
    )
