"""Reads samples of a user's ``Dataset``, in the training's process or in workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainables.data.batch import LABELS
from trainables.data.lazy import LazySplit, Loading, StreamSplit
from trainables.data.nests import Inputs, Nest, count_samples, map_nest
from trainables.data.randomness import ReadingState
from trainables.errors import ContractError, is_from_outside, tell_error

Pair = tuple[Nest, Nest]
Order = list[int]
"""The seed of a batch, and the positions of its samples."""

EXPECTED = (
    "a pair (input, target), each of which may be a tuple or dict of tensors, a tuple of inputs "
    "and, last, the target, or a dict with `labels`"
)
_PAIR = 2
_OF_WORKER = "in DataLoader worker process"


class Reader(Dataset[Any]):
    """Reads one batch for each :data:`Order`. What the user's code raises is a returned value."""

    def __init__(self, split: LazySplit) -> None:
        self._split, self._state = split, ReadingState()

    def __len__(self) -> int:
        return len(self._split)

    def __getitems__(self, order: Order) -> list[Pair | Failure]:
        """The batch, in a list of one."""
        seed, *positions = order
        with self._state.seeded(seed):
            return [self._read(positions)]

    def _read(self, positions: Sequence[int]) -> Pair | Failure:
        dataset: Any = self._split.dataset
        place = f"{self._split.source}: {self._split.name!r}"
        try:
            if hasattr(dataset, "__getitems__"):
                where = f"items {positions[0]}, …"
                items = dataset.__getitems__(list(positions))
            else:
                items = []
                for position in positions:
                    where = f"item {position}"
                    items.append(dataset[position])
        except (Exception, SystemExit) as error:  # the user's code
            if is_from_outside(error):
                raise
            return Failure(f"{place}: {where}{tell_error(error)}")
        return collate(items, self._split.loading, f"{place}, item {positions[0]}")


@dataclass(frozen=True)
class Failure:
    """An error of the user's code in words, sent from a worker."""

    text: str


def collate(items: list[Any], loading: Loading, place: str) -> Pair | Failure:
    """A batch of samples by the user's or torch's function."""
    try:
        made = loading.collate(items)
    except (Exception, SystemExit) as error:  # the user's code, or samples that do not fit
        if is_from_outside(error):
            raise
        what = f"collating {len(items)} samples like {describe(items[0])}"
        return Failure(
            f"{place}: {what}{tell_error(error)}; give samples of one shape, or a "
            "collate_fn that pads them"
        )
    return split_batch(made, loading, place, f"samples like {describe(items[0])}")


def split_batch(batch: Any, loading: Loading, place: str, what: str) -> Pair | Failure:
    """Inputs and targets of a batch, as nests of tensors that a network takes."""
    if isinstance(batch, Mapping) and loading.whole and LABELS not in batch:
        sides: tuple[Any, Any] = batch, batch
    elif isinstance(batch, Mapping) and LABELS in batch:
        sides = batch, batch[LABELS]
    elif isinstance(batch, tuple | list) and len(batch) >= _PAIR:
        *inputs, targets = batch
        sides = inputs[0] if len(batch) == _PAIR else Inputs(inputs), targets
    else:
        return Failure(f"{place}: {what} gave {describe(batch)}; a sample must be {EXPECTED}")
    made = []
    for side, name in zip(sides, ("inputs", "targets"), strict=True):
        try:
            made.append(conform(side))
            if name == "targets":
                count_samples(made[-1])
        except (TypeError, ValueError) as error:
            return Failure(f"{place}: {what} gave {describe(side)} as {name}: {error}")
    return made[0], made[1]


def conform(nest: Nest) -> Nest:
    """A nest of tensors; float64, NumPy's and Python's type, becomes float32.

    Raises:
        TypeError: an array is not of numbers.
    """
    if is_dataclass(nest) and not isinstance(nest, type):
        nest = {f.name: getattr(nest, f.name) for f in fields(nest)}
    if isinstance(nest, list):  # torch's collate function makes one of a tuple
        nest = tuple(nest)
    return map_nest(_conform, nest)


def _conform(leaf: Any) -> Tensor:
    tensor = torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def describe(value: object) -> str:
    """A value by its type, and what is in it."""
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return f"a {kind} with the keys {', '.join(map(str, list(value)[:6]))}"
    if isinstance(value, tuple | list):
        types = {type(item).__name__ for item in value}
        return f"a {kind} of {len(value)}{f' {types.pop()}' if len(types) == 1 else ''}"
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"


class _Orders:
    """The orders of the next pass of a loader."""

    def __init__(self) -> None:
        self.next: Iterable[Order] = ()

    def __iter__(self) -> Iterator[Order]:
        return iter(self.next)


class LazyReader:
    """The batches of a split that is read lazily; worker processes stay for all passes."""

    def __init__(self, split: LazySplit, *, pin: bool = False) -> None:
        self._reader, self._orders = Reader(split), _Orders()
        loading = split.loading
        self._loader: DataLoader[Any] = DataLoader(
            self._reader,
            batch_sampler=self._orders,
            collate_fn=_take_only,
            num_workers=loading.workers,
            pin_memory=pin,
            persistent_workers=loading.workers > 0,
            generator=torch.Generator(),
            **loading.options,
        )

    def read(self, orders: Iterable[Order]) -> Iterator[Pair]:
        """A batch for each order.

        Raises:
            ContractError: reading a sample or collating a batch failed.
        """
        self._orders.next = orders
        return map(_check, self._loader)

    def read_here(self, order: Order) -> Pair:
        """One batch, in this process.

        Raises:
            ContractError: see :meth:`read`.
        """
        return _check(self._reader.__getitems__(order)[0])


def read_stream(split: StreamSplit, batch_size: int, seed: int, *, pin: bool) -> Iterator[Pair]:
    """One pass over a stream, in batches of its own or of this size.

    Raises:
        ContractError: the stream, collating or a batch failed.
    """
    state = ReadingState(seed)
    place = f"{split.source}: {split.name!r}"
    batches: Iterator[Any] | None = None
    number = 0
    while True:
        with state.active():
            try:
                if batches is None:
                    batches = iter(_open_stream(split, batch_size, seed, pin=pin))
                batch = next(batches, None)
            except (Exception, SystemExit) as error:  # the user's code
                if is_from_outside(error):
                    raise
                raise ContractError(f"{place}: batch {number}{_tell(error)}") from error
        if batch is None:
            return
        yield _check(split_batch(batch, split.loading, place, f"batch {number}"))
        number += 1


def _tell(error: BaseException) -> str:
    """The error in words; torch has the traceback of a worker in the text."""
    text = str(error).strip()
    if _OF_WORKER not in text:
        return tell_error(error)
    return f" raised {text.splitlines()[-1]}"


def _open_stream(split: StreamSplit, batch_size: int, seed: int, *, pin: bool) -> Iterable[Any]:
    if isinstance(split.stream, DataLoader):
        return split.stream if split.half is None else islice(split.stream, split.half, None, 2)
    loading = split.loading
    return DataLoader(
        split.stream if split.half is None else _Half(split.stream, split.half),
        batch_size=batch_size,
        collate_fn=loading.collate,
        num_workers=loading.workers,
        drop_last=loading.drop_last,
        pin_memory=pin,
        generator=torch.Generator().manual_seed(seed),
        **loading.options,
    )


class _Half(IterableDataset[Any]):
    """Every second sample of a stream."""

    def __init__(self, stream: IterableDataset[Any], half: int) -> None:
        self._stream, self._half = stream, half

    def __iter__(self) -> Iterator[Any]:
        return islice(self._stream, self._half, None, 2)


def _take_only(batches: list[Any]) -> Any:
    return batches[0]


def _check(made: Pair | Failure) -> Pair:
    if isinstance(made, Failure):
        raise ContractError(made.text)
    return made
