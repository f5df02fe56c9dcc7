"""Samples in memory: resident on the device if they fit, else prefetched."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.image_layout import put_channels_last
from trainables.data.nests import Nest, list_leaves, map_nest
from trainables.data.samples import Index, IndexedSamples, Pair
from trainables.data.splits import Split

_AHEAD = 2


class ArraySamples(IndexedSamples):
    """Inputs and targets, read in batches on ``device``.

    If ``resident``, all samples are on the device; otherwise they stay in the host's memory, and a
    thread pins and copies batches ahead of their use.
    """

    def __init__(self, split: Split, device: str, *, resident: bool = True) -> None:
        self._device = torch.device(device)
        self._cuda = self._device.type == "cuda"
        self.resident, self._count = resident, len(split)
        if resident:
            self.x, self.y = (
                map_nest(lambda a: self._place(torch.tensor(a, device=device)), nest)
                for nest in (split.x, split.y)
            )
        else:
            self.x, self.y = (map_nest(_as_tensor, nest) for nest in (split.x, split.y))
            self._stream = torch.cuda.Stream() if self._cuda else None  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def _place(self, leaf: Tensor) -> Tensor:
        return put_channels_last(leaf) if self._cuda else leaf

    def __len__(self) -> int:
        return self._count

    def find_classes(self) -> NDArray[Any] | None:
        """The targets, if they are one integer for each sample."""
        single = isinstance(self.y, Tensor) and self.y.ndim == 1 and not self.y.is_floating_point()
        return self.y.cpu().numpy() if single else None

    def move_indices(self, indices: Tensor) -> Tensor:
        """Move indices to the device of the samples, so that no step waits for them."""
        return indices.to(next(list_leaves(self.y)).device)

    def batches(self, indices: Iterable[Index], seed: int = 0) -> Iterator[Pair]:
        """One batch for each index tensor or slice; reading draws nothing."""
        if self.resident:
            return ((_take(self.x, i), _take(self.y, i)) for i in indices)
        return self._prefetch(indices)

    def _prefetch(self, indices: Iterable[Index]) -> Iterator[Pair]:
        with ThreadPoolExecutor(1, "samples") as thread:
            coming: deque[Future[Pair]] = deque()
            for index in indices:
                coming.append(thread.submit(self._fetch, index))
                if len(coming) > _AHEAD:
                    yield self._receive(coming.popleft())
            while coming:
                yield self._receive(coming.popleft())

    def _fetch(self, index: Index) -> Pair:
        pair = _take(self.x, index), _take(self.y, index)
        if self._stream is None:  # a slice is a view, but a step may write to its batch
            return move_nest(pair, lambda leaf: leaf.to(self._device, copy=True))
        with torch.cuda.stream(self._stream):
            return move_nest(pair, self._send)

    def _send(self, leaf: Tensor) -> Tensor:
        return put_channels_last(leaf.pin_memory().to(self._device, non_blocking=True))

    def _receive(self, batch: Future[Pair]) -> Pair:
        pair = batch.result()
        if self._stream is not None:
            now = torch.cuda.current_stream()
            now.wait_stream(self._stream)
            for tensor in list_leaves(pair):
                tensor.record_stream(now)
        return pair


def _take(nest: Nest, index: Index) -> Nest:
    if isinstance(nest, Tensor):  # the fast path
        return nest[index]
    return map_nest(lambda leaf: leaf[index], nest)


def move_nest(pair: Pair, move: Callable[[Tensor], Tensor]) -> Pair:
    """A batch with every tensor moved."""
    x, y = (map_nest(move, nest) for nest in pair)
    return x, y


def _as_tensor(values: NDArray[Any]) -> Tensor:
    """A tensor without a copy. Ray's arrays are read-only, which torch warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(values)
