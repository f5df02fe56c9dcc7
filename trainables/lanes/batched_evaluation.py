"""Both sides of the gap, with the networks' passes made for all lanes at once.

So are sums of losses and built-in metrics. Other metrics are the trainable's own code, which each
lane runs on its part of the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.samples import Samples
from trainables.lanes.programs import Given, Program, Programs
from trainables.lanes.reasons import CannotFuseError
from trainables.lanes.shape_key import describe_network
from trainables.lanes.stacks import join_nests, stack
from trainables.loop import Begun, Measure, TrainingRun, measures_train
from trainables.measure import divide, measure

Side = Sequence[dict[str, float] | tuple[list[Batch], list[Any]]]
"""Of each lane, the metrics of a side of the gap, or its batches and what its network made of each.
"""


@dataclass(frozen=True)
class Passed:
    """What was measured of all lanes, or what their networks made, of both sides of the gap."""

    val: Side
    train: Side

    def of_lane(self, row: int) -> Measure:
        """How a lane measures its samples."""

        def measure_samples(
            run: TrainingRun, network: nn.Module, samples: Samples, _subset: Tensor | None
        ) -> dict[str, float]:
            side = self.val if samples is run.data.val else self.train
            found = side[row]
            if isinstance(found, dict):
                return found
            batches, made = found
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
    pass_side = partial(_pass, programs, first.trainable, stacks)
    alike = all(run.data is first.data for run in runs)
    val = pass_side([_read(run, run.data.val, None) for run in (runs[:1] if alike else runs)])
    same = alike and all(_is_equal(run.subset, first.subset) for run in runs)
    sides = [_read(run, run.data.measured, run.subset) for run in (runs[:1] if same else runs)]
    return Passed(val, pass_side(sides) if trains else [])


def _is_equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


def _read(run: TrainingRun, samples: Samples, subset: Tensor | None) -> list[Batch]:
    size = run.training.eval_batch_size
    return list(starmap(Batch, samples.read(size, run.parts.process, subset)))


def _pass(
    programs: Programs,
    trainable: Trainable,
    stacks: Sequence[Tensor],
    lanes: Sequence[Sequence[Batch]],
) -> Side:
    """A side of the gap; ``lanes`` are the batches of each, or of one for all of them."""
    if _has_sums(trainable):
        try:
            return _measure(programs, stacks, lanes)
        except CannotFuseError:
            pass  # its losses or metrics are no values for each sample
    return _forward(programs, stacks, lanes)


def _has_sums(trainable: Trainable) -> bool:
    """Whether its metrics are the built-in ones, which keep nothing from batch to batch."""
    kind = type(trainable)
    built_in = kind.metrics is Trainable.metrics
    return built_in and kind.evaluate_made is Trainable.evaluate_made and not trainable.own_metrics


def _measure(
    programs: Programs, stacks: Sequence[Tensor], lanes: Sequence[Sequence[Batch]]
) -> list[dict[str, float]]:
    """The metrics of each lane."""
    totals: dict[str, Tensor] = {}
    count = 0
    for given, size in _join(lanes):
        program = programs.find_sums(stacks, given, shared=len(lanes) == 1)
        _check_draws(program)
        for name, total in zip(program.spec, program.run(stacks, given), strict=True):
            assert total is not None
            totals[name] = totals[name] + total if name in totals else total
        count += size
    rows = zip(*(total.tolist() for total in totals.values()), strict=True)
    return [{n: divide(t, count) for n, t in zip(totals, row, strict=True)} for row in rows]


def _forward(
    programs: Programs, stacks: Sequence[Tensor], lanes: Sequence[Sequence[Batch]]
) -> list[tuple[list[Batch], list[Any]]]:
    """The batches of each lane, and what its network made of each."""
    shared, width = len(lanes) == 1, len(stacks[0])
    side = [(list(lanes[0 if shared else row]), list[Any]()) for row in range(width)]
    for given, _ in _join(lanes):
        program = programs.find_forward(stacks, given, shared=shared)
        _check_draws(program)
        made = program.run(stacks, given)
        for row, (_, outputs) in enumerate(side):
            own = [value if value is None else value[row] for value in made]
            outputs.append(pytree.tree_unflatten(own, program.spec[0]))
    return side


def _join(lanes: Sequence[Sequence[Batch]]) -> Iterator[tuple[Given, int]]:
    """The batches of all lanes, or of one for all of them, with the number of samples of each."""
    for batches in zip(*lanes, strict=True):
        if len(lanes) == 1:
            yield Given(batches[0].x, batches[0].y), len(batches[0])
        else:
            x, y = join_nests([b.x for b in batches]), join_nests([b.y for b in batches])
            yield Given(x, y), len(batches[0])


def _check_draws(program: Program) -> None:
    if program.recorded.draws:
        raise CannotFuseError("the network draws random numbers where it is measured")
