"""Samples in the form in which a ``Trainer`` takes them: dicts of inputs with labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from trainables.data.batch import LABELS
from trainables.data.nests import Nest, count_samples
from trainables.errors import ContractError
from trainables.return_checks import describe_returned


@dataclass(frozen=True)
class Given:
    """A batch of a loader of the user's, which is not taken apart."""

    batch: Any


@dataclass(frozen=True)
class Form:
    """Makes samples or batches of dicts, in which inputs without a name have this one."""

    main_input: str

    @classmethod
    def of(cls, model: Any) -> Form:
        """By the name that a model gives its main input."""
        return cls(getattr(model, "main_input_name", "input_ids"))

    def join(self, x: Nest, y: Nest) -> Any:
        """One sample or batch of its inputs and targets."""
        if isinstance(x, Given):
            return x.batch
        if isinstance(x, Mapping):
            return dict(x) if LABELS in x else {**x, LABELS: y}
        if isinstance(x, Tensor):
            return {self.main_input: x, LABELS: y}
        raise ContractError(
            f"the inputs of the data are {describe_returned(x)}; a Trainer takes inputs by name: "
            "return a dict of them, such as {'input_ids': …, 'attention_mask': …}",
            "data",
        )


class Named(Dataset[Any]):
    """A dataset of pairs as one of dicts."""

    def __init__(self, pairs: Any, form: Form) -> None:
        self._pairs, self._form = pairs, form

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Any:
        sample = self._pairs[index]
        if isinstance(sample, Mapping):
            return sample
        *inputs, target = sample
        return self._form.join(inputs[0] if len(inputs) == 1 else tuple(inputs), target)


class Batches:
    """The first batches of a loader, of so many samples at least, each with what counts them."""

    def __init__(self, loader: Any, samples: int) -> None:
        self._loader, self._samples = loader, samples

    def __iter__(self) -> Iterator[tuple[Given, Tensor]]:
        seen = 0
        for batch in self._loader:
            count = _count(batch)
            yield Given(batch), torch.zeros(count)
            seen += count
            if seen >= self._samples:
                return


def find_sides(train: Any, val: Any, size: int, seed: int) -> Mapping[str, Iterable[Any]]:
    """The batches of both sides of a gap, of the loaders of a fit.

    The training side has as many samples as the validation: some that are drawn once by ``seed``,
    of a stream the first ones.
    """
    held = sum(_count(batch) for batch in val)
    dataset: Any = getattr(train, "dataset", None)
    if dataset is not None and not isinstance(dataset, IterableDataset):
        generator = torch.Generator().manual_seed(seed)
        picked = torch.randperm(len(dataset), generator=generator)[:held].sort().values
        train = DataLoader(Subset(dataset, picked.tolist()), size, collate_fn=val.collate_fn)
    return {"train": Batches(train, held), "val": Batches(val, held)}


def _count(batch: Any) -> int:
    try:
        return count_samples(dict(batch) if isinstance(batch, Mapping) else batch)
    except ValueError as error:
        raise ContractError(
            f"the samples of a batch cannot be counted: {error}", "trainable"
        ) from None
