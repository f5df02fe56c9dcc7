"""The samples of a split on a device, as trainings read them: in batches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.balancing import Balance
from trainables.data.nests import Nest
from trainables.distributed.process import Process, Share

Index = Tensor | slice
Pair = tuple[Nest, Nest]
Plan = Sequence[Tensor] | int
"""What an epoch reads: the indices of each batch, or of a stream the size of its batches."""


@dataclass(frozen=True)
class Fed:
    """This process's part of one training batch, which has ``count`` samples in all."""

    count: int
    share: Share
    x: Nest
    y: Nest


class Samples(ABC):
    """Inputs and targets of a split."""

    @abstractmethod
    def plan(self, batch_size: int, *, drop_last: bool = False, balanced: bool = False) -> Plan:
        """Draw the order of an epoch from torch's generator, equal in all processes.

        With ``drop_last`` without a batch that is smaller, if there is another; ``balanced`` draws
        every class equally often, where :meth:`find_classes` has them.
        """

    def count_batches(self, batch_size: int, *, drop_last: bool = False) -> int | None:
        """How many batches :meth:`plan` makes; None where that is not known before."""
        return None

    def find_classes(self) -> NDArray[Any] | None:
        """The class of every sample ``(N,)``; None where there is no such array."""
        return None

    @abstractmethod
    def feed(self, plan: Plan, process: Process, seed: int) -> Iterator[Fed]:
        """The batches of an epoch; ``seed`` is of what reading a sample draws.

        Raises:
            ContractError: the user's code failed, or returned no batch.
        """

    @abstractmethod
    def read(
        self, size: int, process: Process | None = None, subset: Tensor | None = None
    ) -> Iterator[Pair]:
        """This process's batches of all samples, or of those at ``subset``, in their order.

        A batch has at most ``size`` samples, except where a loader makes the batches.

        Raises:
            ContractError: see :meth:`feed`.
        """

    @abstractmethod
    def head(self, count: int) -> Pair:
        """The first samples."""

    def spread(self, count: int) -> Pair:
        """Some samples from all over the split, which may be in the order of its classes.

        Of a stream the first ones.
        """
        return self.head(count)


class IndexedSamples(Samples):
    """Samples that are read by their positions."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples."""

    @abstractmethod
    def batches(self, indices: Iterable[Index], seed: int = 0) -> Iterator[Pair]:
        """One batch for each index tensor or slice; tensors from :meth:`move_indices`."""

    def move_indices(self, indices: Tensor) -> Tensor:
        """Move indices to where :meth:`batches` needs them, so that no step waits for them."""
        return indices

    def plan(self, batch_size: int, *, drop_last: bool = False, balanced: bool = False) -> Plan:
        """All samples in a random order, or as many with balanced classes."""
        order = self.move_indices(self.draw(balanced=balanced))
        return split_epoch(order, batch_size, drop_last=drop_last)

    def draw(self, *, balanced: bool) -> Tensor:
        """The positions of an epoch, from torch's generator."""
        return self._balance.draw() if balanced else torch.randperm(len(self))

    @cached_property
    def _balance(self) -> Balance:
        classes = self.find_classes()
        assert classes is not None
        return Balance.of(classes)

    def count_batches(self, batch_size: int, *, drop_last: bool = False) -> int | None:
        """By the number of samples."""
        return count_batches(len(self), batch_size, drop_last=drop_last)

    def feed(self, plan: Plan, process: Process, seed: int) -> Iterator[Fed]:
        """Each batch divided among the processes."""
        assert not isinstance(plan, int)
        shares = [process.share(batch) for batch in plan]
        fed = self.batches((share.samples for share in shares), seed)
        for batch, share, (x, y) in zip(plan, shares, fed, strict=True):
            yield Fed(len(batch), share, x, y)

    def read(
        self, size: int, process: Process | None = None, subset: Tensor | None = None
    ) -> Iterator[Pair]:
        """Whole batches, each in one process."""
        process = process or Process()
        count = len(self) if subset is None else len(subset)
        size = min(size, math.ceil(count / process.world))
        batches: list[Index] = [slice(start, start + size) for start in range(0, count, size)]
        if subset is not None:
            batches = [*torch.split(self.move_indices(subset), size)]
        return self.batches(process.select_batches(batches))

    def head(self, count: int) -> Pair:
        """The first samples, in one batch."""
        return self.take(torch.arange(min(count, len(self))))

    def spread(self, count: int) -> Pair:
        """Samples at even distances, in one batch."""
        return self.take(torch.linspace(0, len(self) - 1, min(count, len(self))).round().long())

    def take(self, indices: Tensor) -> Pair:
        """The samples at these indices, read in this process."""
        return next(self.batches([self.move_indices(indices)]))


def split_epoch(order: Tensor, batch_size: int, *, drop_last: bool) -> Sequence[Tensor]:
    """The batches of an epoch; with ``drop_last`` those of ``batch_size`` samples, if there are."""
    batches = torch.split(order, batch_size)
    short = len(batches) > 1 and len(batches[-1]) < batch_size
    return batches[:-1] if drop_last and short else batches


def count_batches(samples: int, batch_size: int, *, drop_last: bool) -> int:
    """How many batches :func:`split_epoch` makes."""
    whole, rest = divmod(samples, batch_size)
    return whole if drop_last and whole else whole + bool(rest)
