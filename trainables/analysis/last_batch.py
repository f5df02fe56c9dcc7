"""The smallest batch that an epoch will have: the last one, over all divisions and batch sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_TRIED = 512


@dataclass(frozen=True, order=True)
class LastBatch:
    """The last batch of an epoch: its ``size``, of ``samples`` in batches of ``batch_size``."""

    size: int
    samples: int
    batch_size: int

    @property
    def is_whole_epoch(self) -> bool:
        """Whether the epoch has no other batch."""
        return self.size == self.samples

    def __str__(self) -> str:
        return (
            f"the last batch of an epoch, which has {self.size} of {self.samples} samples with "
            f"batch_size {self.batch_size}"
        )

    def advise(self) -> str:
        """What to do if a network cannot be trained on this batch, but on those before it."""
        least = self.size + 1
        better = (self.batch_size + i for i in range(1, _TRIED))
        other = next((b for b in better if not 0 < self.samples % b < least), None)
        such = f", such as {other}" if other and not self.is_whole_epoch else ""
        drop = "" if self.is_whole_epoch else "set `training.drop_last: true`, or "
        return f"{drop}choose a batch_size that leaves more{such}"


def find_smallest(
    samples: Iterable[int], batch_sizes: Iterable[int], *, drop_last: bool = False
) -> LastBatch:
    """The smallest last batch over numbers of samples and batch sizes; neither is empty."""
    sizes = sorted(set(batch_sizes))
    found = (_find_last(n, size, drop_last) for n in sorted(set(samples)) for size in sizes)
    return min(found)


def _find_last(samples: int, batch_size: int, drop_last: bool) -> LastBatch:
    if samples <= batch_size:
        return LastBatch(samples, samples, batch_size)
    rest = 0 if drop_last else samples % batch_size
    return LastBatch(rest or batch_size, samples, batch_size)
