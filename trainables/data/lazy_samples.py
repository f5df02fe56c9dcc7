"""Samples that are read while a training needs them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.image_layout import put_channels_last
from trainables.data.lazy import LazySplit, StreamSplit
from trainables.data.nests import count_samples, map_nest
from trainables.data.reading import LazyReader, Order, read_stream
from trainables.data.samples import (
    Fed,
    Index,
    IndexedSamples,
    Pair,
    Plan,
    Samples,
    count_batches,
    split_epoch,
)
from trainables.distributed.process import Process, derive_seed
from trainables.errors import ContractError

_SMALL = 2**31


class LazySamples(IndexedSamples):
    """Samples of a ``Dataset``; the order and all random numbers are the training's own."""

    def __init__(self, split: LazySplit, device: str) -> None:
        self._split, self._device = split, torch.device(device)
        self._reader = LazyReader(split, pin=self._device.type == "cuda")

    def __len__(self) -> int:
        return len(self._split)

    def plan(self, batch_size: int, *, drop_last: bool = False, balanced: bool = False) -> Plan:
        """The order of the loader's sampler, or a random one."""
        loading = self._split.loading
        drop = drop_last or bool(loading.drop_last)
        if loading.sampler is None:
            return split_epoch(self.draw(balanced=balanced), batch_size, drop_last=drop)
        drawn = _draw(loading.sampler)
        if drawn and not isinstance(drawn[0], int):
            return [torch.tensor(list(batch)) for batch in drawn]
        return split_epoch(torch.tensor(drawn), batch_size, drop_last=drop)

    def count_batches(self, batch_size: int, *, drop_last: bool = False) -> int | None:
        """By the lengths of samples and sampler; None for a sampler without one."""
        loading = self._split.loading
        drop = drop_last or bool(loading.drop_last)
        if loading.sampler is None:
            return count_batches(len(self), batch_size, drop_last=drop)
        if not isinstance(loading.sampler, Sized):
            return None
        drawn = len(loading.sampler)
        makes_batches = loading.batch_size is None
        return drawn if makes_batches else count_batches(drawn, batch_size, drop_last=drop)

    def find_classes(self) -> NDArray[Any] | None:
        """The dataset's ``targets`` or ``labels``, if they are one for each sample."""
        found = None if self._split.loading.sampler else self._split.find_targets()
        return found if found is not None and found.ndim == 1 else None

    def batches(self, indices: Iterable[Index], seed: int = 0) -> Iterator[Pair]:
        """Batches that the reader's workers have read."""
        made = self._reader.read(self._number(indices, seed))
        return (_move(pair, self._device) for pair in made)

    def take(self, indices: Tensor) -> Pair:
        """The samples at these indices, read in this process."""
        (order,) = self._number([indices], 0)
        return _move(self._reader.read_here(order), self._device)

    def _number(self, indices: Iterable[Index], seed: int) -> Iterator[Order]:
        """The positions of each batch, behind a seed of its own."""
        for number, index in enumerate(indices):
            if isinstance(index, slice):
                positions: Sequence[int] = range(*index.indices(len(self)))
            else:
                positions = index.tolist()
            yield [derive_seed(seed, number) % _SMALL, *positions]


class StreamSamples(Samples):
    """Samples of a stream; every process reads it whole and trains on its part of each batch."""

    def __init__(self, split: StreamSplit, device: str) -> None:
        self._split, self._device = split, torch.device(device)

    def plan(self, batch_size: int, *, drop_last: bool = False, balanced: bool = False) -> Plan:
        """The size of batches, where the stream does not say."""
        return batch_size

    def feed(self, plan: Plan, process: Process, seed: int) -> Iterator[Fed]:
        """One pass."""
        assert isinstance(plan, int)
        for x, y in self._pass(plan, seed):
            count = count_samples(y)
            share = process.share(torch.arange(count))
            part = self._divide((x, y), share.samples) if len(share.samples) < count else (x, y)
            yield Fed(count, share, *_move(part, self._device))

    def read(
        self, size: int, process: Process | None = None, subset: Tensor | None = None
    ) -> Iterator[Pair]:
        """One pass, each batch in one process."""
        process = process or Process()
        own = itertools.islice(self._pass(size, 0), process.rank, None, process.world)
        return (_move(pair, self._device) for pair in own)

    def head(self, count: int) -> Pair:
        """The first samples of a pass; more or fewer where the loader makes the batches."""
        first = next(self._pass(count, 0))
        if count_samples(first[1]) > count:
            first = self._divide(first, torch.arange(count))
        return _move(first, self._device)

    def _divide(self, pair: Pair, positions: Tensor) -> Pair:
        try:
            x, y = (map_nest(lambda leaf: leaf[positions], side) for side in pair)
        except (IndexError, TypeError) as error:
            raise ContractError(
                f"{self._split.source}: a batch of {self._split.name!r} cannot be divided: {error};"
                " give tensors with samples on the first axis"
            ) from error
        return x, y

    def _pass(self, batch_size: int, seed: int) -> Iterator[Pair]:
        pin = self._device.type == "cuda"
        empty = True
        for pair in read_stream(self._split, batch_size, seed, pin=pin):
            empty = False
            yield pair
        if empty:
            raise ContractError(
                f"{self._split.source}: {self._split.name!r} gave no batch in a pass; a stream "
                "must give its samples again in every pass"
            )


class KeptBatches(Samples):
    """The first samples of a stream, kept in memory: a fixed part of it to measure."""

    def __init__(self, stream: StreamSamples, count: int, size: int) -> None:
        self._batches: list[Pair] = []
        for pair in stream.read(size):
            self._batches.append(pair)
            count -= count_samples(pair[1])
            if count <= 0:
                break

    def plan(self, batch_size: int, *, drop_last: bool = False, balanced: bool = False) -> Plan:
        """Not for training."""
        raise NotImplementedError

    def feed(self, plan: Plan, process: Process, seed: int) -> Iterator[Fed]:
        """Not for training."""
        raise NotImplementedError

    def read(
        self, size: int, process: Process | None = None, subset: Tensor | None = None
    ) -> Iterator[Pair]:
        """The kept batches."""
        return iter((process or Process()).select_batches(self._batches))

    def head(self, count: int) -> Pair:
        """The first batch."""
        return self._batches[0]


def _draw(sampler: Any) -> list[Any]:
    """Positions, or lists of them, in the order of an epoch."""
    generator = getattr(sampler, "generator", None) or getattr(
        getattr(sampler, "sampler", None), "generator", None
    )
    if isinstance(generator, torch.Generator):
        generator.manual_seed(int(torch.randint(_SMALL, ())))
    return list(sampler)


def _move(pair: Pair, device: torch.device) -> Pair:
    if device.type == "cpu":
        return pair
    x, y = (map_nest(lambda leaf: _send(leaf, device), side) for side in pair)
    return x, y


def _send(leaf: Tensor, device: torch.device) -> Tensor:
    sent = leaf.to(device, non_blocking=True)
    return put_channels_last(sent) if sent.is_floating_point() else sent
