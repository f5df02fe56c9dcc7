"""Places the splits of a sweep on a device."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.data.array_samples import ArraySamples
from trainables.data.lazy import LazySplit, StreamSplit
from trainables.data.lazy_samples import KeptBatches, LazySamples, StreamSamples
from trainables.data.samples import Samples
from trainables.data.splits import AnySplit, Split, Splits
from trainables.devices import get_free_memory

SHARE = 0.5
"""Fraction of the device's free memory that data may take."""
PROBE = 1024
"""Samples of a stream on which the training side of the gap is measured."""


@dataclass(frozen=True)
class Placed:
    """The samples of a training, for one device; all trials of a process share them.

    ``measured`` are the training samples as the gap's training side reads them: without the
    transforms of a training, where the data have such a view.
    """

    device: str
    train: Samples
    val: Samples
    measured: Samples


def place(splits: Splits, device: str) -> Placed:
    """Move the training and validation splits to a device if they are in memory and fit."""
    arrays = [s for s in (splits.train, splits.val) if isinstance(s, Split)]
    size = sum(split.nbytes for split in arrays)
    resident = device == "cpu" or size <= SHARE * get_free_memory()
    train, val = (place_split(s, device, resident=resident) for s in (splits.train, splits.val))
    return Placed(device, train, val, _place_measured(splits.train, train, device))


def place_split(split: AnySplit, device: str, *, resident: bool = False) -> Samples:
    """The samples of one split for a device; arrays stay in host memory unless ``resident``."""
    match split:
        case Split():
            return ArraySamples(split, device, resident=resident)
        case LazySplit():
            return LazySamples(split, device)
        case StreamSplit():
            return StreamSamples(split, device)


def _place_measured(split: AnySplit, train: Samples, device: str) -> Samples:
    match split:
        case LazySplit() if split.is_measured_otherwise:
            return LazySamples(split.evaluated(), device)
        case StreamSplit():
            assert isinstance(train, StreamSamples)
            return KeptBatches(train, PROBE, 256)
        case _:
            return train
