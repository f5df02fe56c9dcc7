"""Splits whose samples are read while they are needed: a ``Dataset`` or a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
)
from torch.utils.data import default_collate as collate_by_default

from trainables.data.raw import Array, Indices


@dataclass(frozen=True)
class Loading:
    """How samples become batches, as ``torch.utils.data.DataLoader`` has it.

    Attributes:
        collate: makes a batch of a list of samples.
        collate_measured: makes a batch that is measured, where ``collate`` changes batches as a
            training does; None for ``collate``.
        workers: processes that read; 0 reads in the training's own process.
        batch_size: samples of a batch that a ready loader has, unless a spec gives another one.
        drop_last: whether a last batch that is smaller is left out.
        sampler: draws the order of an epoch, or its batches; None for a random order.
        whole: whether a batch may be a mapping of any keys, which is inputs and targets in one.
        options: the other arguments of the loader.
    """

    collate: Callable[[list[Any]], Any] = collate_by_default
    collate_measured: Callable[[list[Any]], Any] | None = None
    workers: int = 0
    batch_size: int | None = None
    drop_last: bool = False
    sampler: Sampler[Any] | None = None
    whole: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def measured(self) -> Loading:
        """How samples that are measured become batches, of any size and in their order."""
        return Loading(
            self.collate_measured or self.collate,
            workers=self.workers,
            whole=self.whole,
            options=self.options,
        )


@dataclass(frozen=True)
class LazySplit:
    """Samples of a map-style ``dataset``, each read when it is needed.

    Attributes:
        name: ``train``, ``val`` or ``test``, for errors.
        source: the function that returned it, for errors.
        dataset: has ``__len__`` and ``__getitem__``.
        loading: how samples become batches.
        view: the same samples without the transforms of a training; None if there is no such view.
        varies: whether a sample is another one when it is read again.
    """

    name: str
    source: str
    dataset: Dataset[Any]
    loading: Loading = Loading()
    view: Dataset[Any] | None = None
    varies: bool = False

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # checked when the split was read

    def rows(self, positions: Indices, name: str) -> LazySplit:
        """Some of the samples, as the split ``name``."""
        picked = [int(p) for p in positions]
        view = None if self.view is None else Subset(self.view, picked)
        part = Subset(self.dataset, picked)
        return LazySplit(name, self.source, part, self.loading, view, self.varies)

    @property
    def owns_batches(self) -> bool:
        """Whether a sampler of the loader gives whole batches."""
        return self.loading.sampler is not None and self.loading.batch_size is None

    def evaluated(self) -> LazySplit:
        """The same samples as they are measured: by the view, if there is one."""
        dataset = self.dataset if self.view is None else self.view
        return LazySplit(
            self.name, self.source, dataset, self.loading.measured(), varies=self.varies
        )

    @property
    def is_measured_otherwise(self) -> bool:
        """Whether :meth:`evaluated` reads in another way than a training does."""
        ways = self.view, self.loading.sampler, self.loading.collate_measured
        return any(way is not None for way in ways)

    def find_targets(self) -> Array | None:
        """The targets of all samples, if the dataset has them as an array, as torchvision's do."""
        return _find_targets(self.dataset)


@dataclass(frozen=True)
class StreamSplit:
    """Samples of an ``IterableDataset``, or the batches of a loader that owns its order.

    An epoch is one pass, or its beginning. With ``half`` 0 or 1 it is every second sample, or batch
    of such a loader.
    """

    name: str
    source: str
    stream: IterableDataset[Any] | DataLoader[Any]
    loading: Loading = Loading()
    half: int | None = None

    @property
    def owns_batches(self) -> bool:
        """Whether the stream gives whole batches."""
        return isinstance(self.stream, DataLoader)


def _find_targets(dataset: Any) -> Array | None:
    if isinstance(dataset, Subset):
        found = _find_targets(dataset.dataset)
        return None if found is None else found[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [part for d in dataset.datasets if (part := _find_targets(d)) is not None]
        return np.concatenate(parts) if len(parts) == len(dataset.datasets) else None
    for name in ("targets", "labels"):
        values = getattr(dataset, name, None)
        if isinstance(values, Sequence | np.ndarray | Tensor) and not isinstance(values, str):
            array = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
            if array.shape[:1] == (len(dataset),) and array.dtype != object:
                return array
    return None


def is_map_style(value: object) -> bool:
    """Whether it has a length and items, and is neither a collection nor a table."""
    others = Mapping, Sequence, np.ndarray, Tensor, pd.DataFrame, pd.Series
    has = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    return has and not isinstance(value, (*others, type))


def find_view(dataset: Any) -> Dataset[Any] | None:
    """The attribute ``evaluation`` of a dataset, or of the one that it is a subset of."""
    if isinstance(dataset, Subset):
        whole = find_view(dataset.dataset)
        return None if whole is None else Subset(whole, dataset.indices)
    view = getattr(dataset, "evaluation", None)
    return view if isinstance(view, Dataset) else None


def take_apart(loader: DataLoader[Any]) -> tuple[Dataset[Any], Loading] | None:
    """The dataset and the options of a ready loader; None if it owns its order.

    That is one of a stream, of a dataset of whole batches, or of a class of its own.
    """
    owns = loader.batch_size is None and loader.batch_sampler is None
    if type(loader) is not DataLoader or owns or isinstance(loader.dataset, IterableDataset):
        return None
    sampler: Any = loader.batch_sampler if loader.batch_size is None else loader.sampler
    shuffled = isinstance(sampler, RandomSampler) and not sampler.replacement
    options = {
        "multiprocessing_context": loader.multiprocessing_context,
        "timeout": loader.timeout,
        "worker_init_fn": loader.worker_init_fn,
        "prefetch_factor": loader.prefetch_factor,
    }
    return loader.dataset, Loading(
        loader.collate_fn,
        workers=loader.num_workers,
        batch_size=loader.batch_size,
        drop_last=loader.drop_last,
        sampler=None if shuffled else sampler,
        options={name: value for name, value in options.items() if value},
    )
