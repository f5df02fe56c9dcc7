"""The samples of a trial, as a user's loop reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from trainables.build import check_sampling
from trainables.config.data_info import DataInfo
from trainables.config.training import Training
from trainables.data.lazy import LazySplit, StreamSplit
from trainables.data.nests import Nest, count_samples, map_nest
from trainables.data.placing import Placed
from trainables.data.samples import IndexedSamples, Pair, Plan, Samples
from trainables.data.splits import AnySplit, Splits
from trainables.distributed.process import Process

_SEEDS = 2**31


class PairDataset(Dataset[Any]):
    """Samples in memory, each a pair of input and target."""

    def __init__(self, x: Nest, y: Nest, count: int) -> None:
        self.x, self.y, self._count = x, y, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Nest, Nest]:
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return map_nest(lambda leaf: leaf[index], self.x), map_nest(
            lambda leaf: leaf[index], self.y
        )


class Loader:
    """The batches ``(x, y)`` of a split on the trial's device; each iteration is an epoch.

    Training batches are shuffled by torch's generator, which is seeded for the trial.
    """

    def __init__(
        self,
        samples: Samples,
        size: int,
        *,
        shuffled: bool,
        drop_last: bool,
        few: bool,
        balanced: bool = False,
    ) -> None:
        self._samples, self._size, self._few = samples, size, few
        self._shuffled, self._drop_last, self._balanced = shuffled, drop_last, balanced
        self._count: int | None = None

    def __len__(self) -> int:
        if not isinstance(self._samples, IndexedSamples):
            raise TypeError("the batches of a stream cannot be counted")
        if self._few:
            return 1
        if not self._shuffled:
            return -(-len(self._samples) // self._size)
        if self._count is None:
            with torch.random.fork_rng(devices=[]):
                plan = self._plan()
            assert not isinstance(plan, int)
            self._count = len(plan)
        return self._count

    def __iter__(self) -> Iterator[Pair]:
        batches = self._shuffle() if self._shuffled else self._samples.read(self._size)
        for number, pair in enumerate(batches):
            if self._few and number:
                return
            yield pair

    def _plan(self) -> Plan:
        return self._samples.plan(self._size, drop_last=self._drop_last, balanced=self._balanced)

    def _shuffle(self) -> Iterator[Pair]:
        plan = self._plan()
        seed = int(torch.randint(_SEEDS, ()))
        return ((fed.x, fed.y) for fed in self._samples.feed(plan, Process(), seed))


class TrialData:
    """The replicate's division of the samples; test samples are not among them.

    Attributes:
        train: the training samples, a ``Dataset`` of pairs of input and target.
        val: the validation samples.
        info: shapes of inputs, number of outputs, task.
    """

    def __init__(
        self,
        splits: Splits,
        placed: Placed,
        training: Training,
        note: Callable[[str], object] = lambda _: None,
        *,
        few: bool,
        most: int | None = None,
    ) -> None:
        """``note`` is told the keys of ``training`` that are applied; ``few``: give one batch.

        A ``Dataset`` has ``most`` samples at most, from all over the split.
        """
        self._splits, self._placed, self._training, self._few = splits, placed, training, few
        self._note, self._most = note, most

    @cached_property
    def train(self) -> Dataset[Any]:
        """The training samples, on the CPU."""
        return _as_dataset(self._splits.train, self._most)

    @cached_property
    def val(self) -> Dataset[Any]:
        """The validation samples, on the CPU."""
        return _as_dataset(self._splits.val, self._most)

    @property
    def info(self) -> DataInfo:
        """Shapes of inputs, number of outputs, task."""
        return self._splits.info

    def loaders(self, batch_size: int | None = None) -> tuple[Loader, Loader]:
        """Training and validation batches on the trial's device.

        ``batch_size`` is of training batches, ``training.batch_size`` by default.

        Raises:
            ContractError: ``training.sampling`` does not fit the data.
        """
        training = self._training
        check_sampling(training, self._splits, self._placed)
        if batch_size is None:
            self._note("batch_size")
        self._note("drop_last")
        size = training.batch_size if batch_size is None else batch_size
        return (
            Loader(
                self._placed.train,
                size,
                shuffled=True,
                drop_last=training.drop_last,
                few=self._few,
                balanced=training.sampling == "balanced",
            ),
            Loader(
                self._placed.val,
                training.eval_batch_size,
                shuffled=False,
                drop_last=False,
                few=self._few,
            ),
        )


def _as_dataset(split: AnySplit, most: int | None) -> Dataset[Any]:
    match split:
        case LazySplit():
            whole = most is None or len(split) <= most
            return split.dataset if whole else Subset(split.dataset, _spread(len(split), most))
        case StreamSplit():
            stream: Any = split.stream
            return getattr(stream, "dataset", stream) if split.half is None else _refuse_half()
    rows = slice(None) if most is None else _spread(len(split), most)
    x, y = (map_nest(lambda leaf: torch.tensor(leaf[rows]), side) for side in (split.x, split.y))
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return TensorDataset(x, y)
    return PairDataset(x, y, count_samples(y))


def _spread(count: int, most: int | None) -> list[int]:
    """Positions at even distances."""
    return [
        *dict.fromkeys(
            np.linspace(0, count - 1, min(count, most or count)).round().astype(int).tolist()
        )
    ]


def _refuse_half() -> Dataset[Any]:
    raise TypeError("half of a stream is read by trial.data.loaders() only")
