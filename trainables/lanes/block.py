"""Lanes that take their steps by one program."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from trainables.data.samples import Samples
from trainables.devices import set_precision
from trainables.errors import TrainableError, is_out_of_memory
from trainables.lanes.batched_evaluation import Passed, pass_all
from trainables.lanes.feeding import Feed, Read, plan_batches
from trainables.lanes.gradients import Gradients
from trainables.lanes.lane import Lane
from trainables.lanes.programs import Program, Programs
from trainables.lanes.reasons import CannotFuseError
from trainables.lanes.replays import Replays
from trainables.lanes.shape_key import Frozen, describe_network, name_difference
from trainables.lanes.stacks import join
from trainables.lanes.updates import Updates, can_update
from trainables.loop import TrainingRun, end_epoch, end_steps, finish_step, measure_samples
from trainables.run import EpochResult
from trainables.stepping import mark_last

Outcome = EpochResult | Exception


class Block:
    """Lanes whose networks' tensors are slices of its stacks.

    Attributes:
        measured_alone: why lanes make the passes that are measured alone; empty if they do not.
    """

    def __init__(self, lanes: Sequence[Lane], programs: Programs, network: Frozen) -> None:
        """``network`` describes that of each lane."""
        self.lanes, self._programs, self._network = lanes, programs, network
        self.measured_alone = ""
        self._stacks = join([lane.run.model for lane in lanes])
        self._random = [lane.random for lane in lanes]
        self._replays = Replays(self._stacks, self._random)
        self._device = lanes[0].run.data.device
        self._found: dict[Hashable, Program] = {}
        self._checked: set[Program] = set()

    def train_epoch(self) -> None:
        """Take the steps of an epoch.

        Raises:
            CannotFuseError: the lanes cannot take them together.
        """
        first = self.lanes[0].run
        set_precision(first.training.precision)
        for lane in self.lanes:
            lane.begin_epoch()
        self._check_networks()
        self._feed, self._gradients = Feed(self.lanes), Gradients(self.lanes)
        self._updates = Updates(self.lanes) if can_update(self.lanes) else None
        self._total, self._losses = (self._make_zeros() for _ in range(2))
        batches = iter(plan_batches(self.lanes))
        begins = True
        for indices, last in mark_last(batches, first.training.accumulate):
            self._add(indices, begins=begins, last=last)
            if last:
                self._update()
            begins = last
        self._check_networks()
        for lane, loss in zip(self.lanes, self._total, strict=True):
            lane.epoch.loss = loss

    def end_epoch(self) -> dict[TrainingRun, Outcome]:
        """Measure an epoch whose steps are done; the results, or what was raised."""
        for lane in self.lanes:
            end_steps(lane.run, lane.epoch.number)
        outcomes: dict[TrainingRun, Outcome] = {}
        runs, begun = [lane.run for lane in self.lanes], [lane.epoch for lane in self.lanes]
        passed = None
        if not self.measured_alone:
            try:
                passed = pass_all(self._programs, runs, self._stacks, begun)
                self._check_measured(passed)
            except CannotFuseError as error:
                if is_out_of_memory(error):
                    raise
                self.measured_alone, passed = str(error), None
        for row, lane in enumerate(self.lanes):
            try:
                how = None if passed is None else passed.of_lane(row)
                outcomes[lane.run] = end_epoch(lane.run, lane.epoch, how)
            except TrainableError as error:
                outcomes[lane.run] = error
        return outcomes

    def _check_measured(self, passed: Passed) -> None:
        """Check the first measurement that each lane has of either side of the gap.

        The sides have batches of other sizes, for which torch may choose other products.

        Raises:
            CannotFuseError: it has other results than that alone.
        """
        for row, lane in enumerate(self.lanes):
            run, how = lane.run, passed.of_lane(row)
            sides: dict[str, tuple[Samples, Tensor | None]] = {"val": (run.data.val, None)}
            if passed.train:
                sides["train"] = (run.data.measured, run.subset)
            for side in sides.keys() - lane.checked:
                found, wanted = (
                    m(run, run.evaluated, *sides[side]) for m in (how, measure_samples)
                )
                if repr(found) != repr(wanted):  # NaN is like NaN
                    raise CannotFuseError("a pass that is shared has other results than alone")
                lane.checked.add(side)

    def _check_networks(self) -> None:
        """Check that no hook has given a network another form.

        Raises:
            CannotFuseError: one has.
        """
        for lane in self.lanes:
            found = describe_network(lane.run.model)
            if found != self._network:
                changed = name_difference(self._network, found)
                raise CannotFuseError(f"{changed} changes after a step, by a regulariser or a hook")

    def _add(self, indices: Tensor, *, begins: bool, last: bool) -> None:
        """Add the gradients of a batch of every lane."""
        count, share = indices.shape[1], None
        for lane in self.lanes:
            if begins and lane.run.stepper.clears_otherwise:
                lane.run.stepper.clear()
            share = lane.run.stepper.count(count, last=last)
            lane.epoch.count += count
        losses, *gradients = self._run(self._feed.read(indices, share), share)
        assert losses is not None
        self._gradients.add(gradients)
        self._losses += losses * count
        if last:
            self._total += self._losses
            self._losses = self._make_zeros()

    def _make_zeros(self) -> Tensor:
        """A number of each lane."""
        return torch.zeros(len(self.lanes), device=self._device)

    def _run(self, read: Read, share: float | None) -> list[Tensor | None]:
        """The losses and gradients; the first step of each lane is compared with that alone."""
        program = self._find(read)
        if program in self._checked:
            return self._replays.run(program, read.given)
        expected = [
            None if program in lane.checked else lane.step_alone(read.of_lane(row), share)
            for row, lane in enumerate(self.lanes)
        ]
        made = program.run(self._stacks, read.given, self._random)
        for row, (lane, wanted) in enumerate(zip(self.lanes, expected, strict=True)):
            if wanted is not None:
                lane.check(program, wanted, [v if v is None else v[row] for v in made])
        self._checked.add(program)
        return made

    def _find(self, read: Read) -> Program:
        given, threads = read.given, torch.get_num_threads()
        key = (given.describe() if self._feed.changes else given.size, threads)
        if key not in self._found:
            self._found[key] = self._programs.find_step(self._stacks, given)
        return self._found[key]

    def _update(self) -> None:
        """Update every lane; in the first step of a training each does so alone."""
        self._gradients.give()
        if self._updates is not None:
            self._updates.take(self._gradients)
        else:
            for lane in self.lanes:
                with lane.drawing():
                    finish_step(lane.run, lane.epoch.number, lane.epoch.now)
            self._updates = Updates(self.lanes)
        self._gradients.clear()
