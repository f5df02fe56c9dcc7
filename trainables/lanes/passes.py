"""Both sides of the gap, with the networks' passes made for all lanes at once.

Losses and metrics are the trainable's own code, which each lane runs on its part of the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.samples import Samples
from trainables.lanes.programs import Given, Programs
from trainables.lanes.reasons import CannotFuseError
from trainables.lanes.shape_key import describe_network
from trainables.lanes.stacks import join_nests, stack
from trainables.loop import Begun, Measure, TrainingRun, measures_train
from trainables.measure import measure

Side = list[tuple[list[Batch], list[Any]]]
"""Of each lane, the batches of a side of the gap, and what its network made of each."""


@dataclass(frozen=True)
class Passed:
    """What all lanes' networks made of the validation and of the measured training samples."""

    val: Side
    train: Side

    def of_lane(self, row: int) -> Measure:
        """How a lane measures its samples."""

        def measure_samples(
            run: TrainingRun, network: nn.Module, samples: Samples, _subset: Tensor | None
        ) -> dict[str, float]:
            side = self.val if samples is run.data.val else self.train
            batches, made = side[row]
            return measure(network, run.trainable, batches, run.parts.process, made)

        return measure_samples


def pass_all(
    programs: Programs,
    runs: Sequence[TrainingRun],
    stacks: Sequence[Tensor],
    begun: Sequence[Begun],
) -> Passed:
    """The passes of all lanes.

    Raises:
        CannotFuseError: each lane has to make its own.
    """
    first = runs[0]
    networks = [run.evaluated for run in runs]
    if type(first.trainable).evaluate is not Trainable.evaluate:
        raise CannotFuseError(f"{type(first.trainable).__name__} defines `evaluate` itself")
    if any(network is not run.model for network, run in zip(networks, runs, strict=True)):
        kinds = {describe_network(network)[1] for network in (first.model, *networks)}
        if len(kinds) > 1:
            raise CannotFuseError("a regulariser evaluates another network")
        stacks = stack(networks)
    trains = any(measures_train(r, b.number) for r, b in zip(runs, begun, strict=True))
    alike = all(run.data is first.data for run in runs)
    val = [_read(run, run.data.val, None) for run in (runs[:1] if alike else runs)]
    same = alike and all(_is_equal(run.subset, first.subset) for run in runs)
    sides = [_read(run, run.data.measured, run.subset) for run in (runs[:1] if same else runs)]
    return Passed(_pass(programs, stacks, val), _pass(programs, stacks, sides) if trains else [])


def _is_equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


def _read(run: TrainingRun, samples: Samples, subset: Tensor | None) -> list[Batch]:
    size = run.training.eval_batch_size
    return list(starmap(Batch, samples.read(size, run.parts.process, subset)))


def _pass(programs: Programs, stacks: Sequence[Tensor], lanes: Sequence[Sequence[Batch]]) -> Side:
    """The outputs of each batch; ``lanes`` are the batches of each, or of one for all of them."""
    shared, width = len(lanes) == 1, len(stacks[0])
    side: Side = [(list(lanes[0 if shared else row]), []) for row in range(width)]
    for batches in zip(*lanes, strict=True):
        if shared:
            given = Given(batches[0].x, batches[0].y)
        else:
            given = Given(join_nests([b.x for b in batches]), join_nests([b.y for b in batches]))
        found = programs.find_forward(stacks, given, shared=shared)
        if found.first.recorded.draws:
            raise CannotFuseError("the network draws random numbers where it is measured")
        made = found.run(stacks, given, [[] for _ in range(width)])
        for (_, outputs), row in zip(side, made, strict=True):
            outputs.append(pytree.tree_unflatten(row, found.first.spec[0]))
    return side
