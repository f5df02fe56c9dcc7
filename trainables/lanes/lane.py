"""A training in a group."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainables.data.batch import Batch
from trainables.lanes.batched_calls import are_same
from trainables.lanes.random_states import RandomStates
from trainables.lanes.reasons import CannotFuseError
from trainables.loop import Begun, TrainingRun, begin_epoch


@dataclass
class Lane:
    """A training in a group, with its random numbers and the epoch that it is in.

    ``number`` is its place among those that were taken; lanes of equal ``updates`` update their
    weights in the same way. ``checked`` are the programs whose first step had the bits of that step
    alone.
    """

    run: TrainingRun
    number: int
    updates: Hashable
    trained: Sequence[nn.Parameter]
    begun: Begun | None = None
    checked: set[Hashable] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = RandomStates(self.run.data.device)

    def begin_epoch(self) -> None:
        """Begin an epoch, with the random numbers that follow."""
        self.begun = begin_epoch(self.run)
        self.random.note()

    def drawing(self) -> AbstractContextManager[None]:
        """Draw this lane's random numbers from torch's generators."""
        return self.random.drawing()

    def step_alone(self, batch: Batch, share: float | None) -> list[Tensor | None]:
        """The loss, gradients and buffers of a step alone, which leaves the lane as it was."""
        buffers = list(self.run.model.buffers())
        before = [buffer.clone() for buffer in buffers]
        self.random.use()
        loss = self.run.trainable.step(self.run.model, batch)
        part = loss if share is None else loss * share
        gradients = torch.autograd.grad(part, list(self.trained), allow_unused=True)
        after = [buffer.clone() for buffer in buffers]
        for buffer, values in zip(buffers, before, strict=True):
            buffer.data.copy_(values)
        return [loss.detach(), *gradients, *after]

    def check(
        self, kind: Hashable, wanted: Sequence[Tensor | None], found: Sequence[Tensor | None]
    ) -> None:
        """Check the lane's first shared step of a kind.

        Raises:
            CannotFuseError: it has other bits than the step alone.
        """
        pairs = zip(wanted, [*found, *self.run.model.buffers()], strict=True)
        if not all(are_same(one, other) for one, other in pairs):
            raise CannotFuseError("a step that is shared has other results than the step alone")
        self.checked.add(kind)

    @property
    def epoch(self) -> Begun:
        """The epoch that it is in."""
        assert self.begun is not None
        return self.begun
