"""One process that trains as each of several would, to find errors before there is a group."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn

from trainables.distributed.batch_norm import synchronise
from trainables.distributed.process import Process, Share, Whole


class Rehearsal(Process):
    """A process that imagines ``world - 1`` others, whose parts of a batch equal its own.

    Its part of a batch is the largest that a rank has, or by :meth:`share_least` the smallest.
    """

    def __init__(self, world: int) -> None:
        self.world = world
        self._divided = True

    def __deepcopy__(self, memo: object) -> Self:
        """A copy of a network stays in the same rehearsal."""
        return self

    def share(self, batch: Tensor) -> Share:
        """The first rank's part, the largest."""
        return Share.of(batch, 0, self.world)

    def share_least(self, batch: Tensor) -> Share:
        """The last rank's part, the smallest."""
        return Share.of(batch, self.world - 1, self.world)

    def begin_step(self, share: Share) -> None:
        """Batch statistics are those of the whole batch unless every rank has it."""
        self._divided = not share.replicated

    def wrap_parallel(self, network: nn.Module) -> nn.Module:
        """A network that can only be called, as one that several processes share."""
        return Whole(network)

    def synchronise_batch_norms(self, network: nn.Module) -> nn.Module:
        """Replace batch norms by ones whose statistics are those of all ranks."""
        return synchronise(network, self._total)

    def _total(self, value: Tensor) -> Tensor:
        return value * self.world if self._divided else value
