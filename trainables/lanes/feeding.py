"""The batches of many lanes' epochs, read at once where all lanes have the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from trainables.data.array_samples import ArraySamples
from trainables.data.batch import Batch
from trainables.data.nests import Nest, list_leaves, map_nest
from trainables.lanes.lane import Lane
from trainables.lanes.programs import Given
from trainables.lanes.reasons import CannotFuseError
from trainables.lanes.stacks import join_nests, pick_nest


def plan_batches(lanes: Sequence[Lane]) -> list[Tensor]:
    """The indices ``(L, B)`` of each batch of an epoch.

    Raises:
        CannotFuseError: the lanes have batches of different sizes.
    """
    most = lanes[0].run.batches_per_epoch
    plans = [list(islice(_list_indices(lane), most)) for lane in lanes]
    sizes = {tuple(map(len, plan)) for plan in plans}
    if len(sizes) > 1:
        raise CannotFuseError("its trainings have different numbers of batches")
    orders = torch.stack([torch.cat(plan) for plan in plans])
    return list(torch.split(orders, list(sizes.pop()), 1))


def _list_indices(lane: Lane) -> Sequence[Tensor]:
    plan = lane.epoch.plan
    assert not isinstance(plan, int)
    return plan


@dataclass(frozen=True)
class Read:
    """A batch of all lanes; ``batches`` are those of each, where something changed them."""

    given: Given
    batches: Sequence[Batch] = ()

    def of_lane(self, row: int) -> Batch:
        """A lane's own batch."""
        if self.batches:
            return self.batches[row]
        return Batch(pick_nest(self.given.x, row), pick_nest(self.given.y, row))


class Feed:
    """Reads and regularises the batches of lanes, whose samples are arrays in memory.

    ``changes`` says whether a regulariser of one may change its batches.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._sources = [_read_source(lane) for lane in lanes]
        self._shared = all(source is self._sources[0] for source in self._sources)
        self.changes = any(lane.run.parts.regularisers.changes_batches for lane in lanes)

    def read(self, indices: Tensor, share: float | None) -> Read:
        """The batch of all lanes at their indices ``(L, B)``.

        Raises:
            CannotFuseError: the lanes' batches are not alike.
        """
        x, y = self._take(indices)
        if not self.changes:
            return Read(Given(x, y, part=self._fill(share)))
        batches = list(self._regularise(x, y))
        return Read(_join_batches(batches, self._fill(share)), batches)

    def _take(self, indices: Tensor) -> tuple[Nest, Nest]:
        if self._shared:
            source = self._sources[0]
            x, y = (map_nest(partial(_gather, indices), side) for side in (source.x, source.y))
            return x, y
        pairs = [next(s.batches([row])) for s, row in zip(self._sources, indices, strict=True)]
        x, y = (join_nests(side) for side in zip(*pairs, strict=True))
        return x, y

    def _fill(self, share: float | None) -> Tensor | None:
        """The share of every lane, on the device of the samples."""
        device = self._lanes[0].run.data.device
        return None if share is None else torch.full((len(self._lanes),), share, device=device)

    def _regularise(self, x: Nest, y: Nest) -> Iterator[Batch]:
        for row, lane in enumerate(self._lanes):
            mine = pick_nest(x, row), pick_nest(y, row)
            hooks = lane.run.parts.regularisers
            if hooks.changes_batches:
                with lane.drawing():
                    yield hooks.on_batch(*mine)
            else:
                yield Batch(*mine)


def _gather(indices: Tensor, leaf: Tensor) -> Tensor:
    """The samples at indices ``(L, B)``, each lane's in the memory layout that it has alone.

    Faster than ``leaf[indices]`` where the samples have the usual layout.
    """
    if not leaf.is_contiguous():
        return torch.stack([leaf[row] for row in indices])
    found = leaf.index_select(0, indices.flatten())
    return found.view(*indices.shape, *leaf.shape[1:])


def _read_source(lane: Lane) -> ArraySamples:
    source = lane.run.data.train
    assert isinstance(source, ArraySamples)
    return source


def _join_batches(batches: Sequence[Batch], part: Tensor | None) -> Given:
    """One batch of all lanes.

    Raises:
        CannotFuseError: they are not alike.
    """
    mixes = any(b.other_y is not None for b in batches)
    smooths = any(b.smoothing for b in batches)
    device = next(list_leaves(batches[0].y)).device
    ones = torch.ones((), device=device)
    return Given(
        x=join_nests([b.x for b in batches]),
        y=join_nests([b.y for b in batches]),
        other_y=join_nests([b.y if b.other_y is None else b.other_y for b in batches])
        if mixes
        else None,
        share=join_nests([ones if b.share is None else b.share for b in batches])
        if mixes
        else None,
        smoothing=torch.tensor([b.smoothing for b in batches], dtype=torch.float64, device=device)
        if smooths
        else None,
        part=part,
    )
