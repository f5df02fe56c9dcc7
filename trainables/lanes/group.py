"""A group: trainings of one shape key that take their steps together.

A lane is a training whose network's tensors are slices of the group's stacks. Only forward and
backward passes are made for all lanes at once. Everything else (its data's order, regularisers,
optimiser, schedule, averages, stopping, kept weights) is the lane's own, by the code that trains it
alone; so are its results, to the last bit.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from traceback import clear_frames
from typing import Any

import torch
from torch import Tensor, nn

from trainables.data.batch import Batch
from trainables.data.samples import Fed
from trainables.devices import set_precision
from trainables.errors import TrainableError, is_out_of_memory
from trainables.lanes.lane import Lane
from trainables.lanes.passes import pass_all
from trainables.lanes.programs import Given, Programs
from trainables.lanes.reasons import CannotFuseError, explain
from trainables.lanes.shape_key import ShapeKey, describe_network, explain_alone, find_key
from trainables.lanes.stacks import copy_state, join, join_nests, own, part
from trainables.lanes.updates import Updates, describe_updates
from trainables.loop import (
    Measure,
    TrainingRun,
    begin_epoch,
    end_epoch,
    end_steps,
    finish_step,
    train,
)
from trainables.run import EpochResult

Outcome = EpochResult | Exception
_KEPT = 8
_PROGRAMS: dict[ShapeKey, Programs] = {}


class Group:
    """Trainings of one shape key. One that cannot go on with the others goes on alone.

    Attributes:
        reasons: why trainings go on alone, by training.
        measured_alone: why lanes make the passes that are measured alone; empty if they do not.
        ran_out: whether the last epoch took more memory than there is. Each lane has then trained
            it alone; a narrower group may fit.
    """

    def __init__(self) -> None:
        self.key: ShapeKey | None = None
        self.reasons: dict[TrainingRun, str] = {}
        self.measured_alone, self.ran_out = "", False
        self._lanes: list[Lane] = []
        self._stacks: list[Tensor] = []
        self._whole, self._taken = False, 0
        self._updates: Updates | None = None

    @property
    def runs(self) -> tuple[TrainingRun, ...]:
        """All its trainings: those that share their steps, then those that are alone."""
        lanes = sorted(self._lanes, key=lambda lane: lane.number)
        return (*(lane.run for lane in lanes), *self.reasons)

    @property
    def width(self) -> int:
        """How many trainings share their steps."""
        return len(self._lanes)

    def take(self, run: TrainingRun) -> None:
        """Let a training share its steps with the others, from its next epoch on.

        Raises:
            CannotFuseError: it cannot share its steps, or has another shape key.
        """
        reason = explain_alone(run)
        if reason:
            raise CannotFuseError(reason)
        key = find_key(run)
        if self.key is not None and key != self.key:
            raise CannotFuseError("it differs from the group's other trainings in what they share")
        known = replace(key, data=None)  # programs are given the data
        if known not in _PROGRAMS:
            while len(_PROGRAMS) >= _KEPT:
                _PROGRAMS.pop(next(iter(_PROGRAMS)))
            _PROGRAMS[known] = Programs(run)
        self.key, self._programs = key, _PROGRAMS[known]
        self._taken += 1
        trained = [p for p in run.model.parameters() if p.requires_grad]
        self._lanes.append(Lane(run, self._taken, describe_updates(run), trained))
        self._whole = False

    def drop(self, run: TrainingRun) -> None:
        """Give a training back, after any epoch; it can go on alone."""
        if run in self.reasons:
            del self.reasons[run]
            return
        self._lanes = [lane for lane in self._lanes if lane.run is not run]
        part(run.model, run.parts.optimizer)
        self._whole = False

    def state_dict(self, run: TrainingRun) -> dict[str, Any]:
        """The state of a training, as it is alone: another group or none can go on from it."""
        return own(run.state_dict())

    def advance(self) -> dict[TrainingRun, Outcome]:
        """Train every training for an epoch; returns the results, or what was raised.

        Those that are done or have failed leave the group.
        """
        outcomes = self._advance_together() if self._lanes else {}
        for run in tuple(self.reasons):
            if run not in outcomes:
                outcomes[run] = _advance_alone(run)
        outcomes = {run: outcomes[run] for run in self.runs}
        for run, outcome in outcomes.items():
            if isinstance(outcome, Exception) or outcome.done:
                self.drop(run)
        return outcomes

    def _advance_together(self) -> dict[TrainingRun, Outcome]:
        states: list[dict[str, Any]] = []
        try:
            self._join_lanes()
            states = [_keep(lane.run) for lane in self._lanes]
            with torch.random.fork_rng([]):
                self._train_epoch()
            self.ran_out = False
            return self._end_epoch()
        except Exception as error:
            for lane, state in zip(self._lanes, states, strict=False):
                lane.run.load_state_dict(state)
            self.ran_out, reason = is_out_of_memory(error), str(explain(error))
        if self.ran_out:
            gc.collect()  # what was half made; the error, whose frames held it, is gone
        return self._find_culprit(reason)

    def _join_lanes(self) -> None:
        """Make stacks of the lanes' tensors, lanes that update alike one after the other."""
        if self._whole:
            return
        alike = list(dict.fromkeys(lane.updates for lane in self._lanes))
        self._lanes.sort(key=lambda lane: (alike.index(lane.updates), lane.number))
        self._stacks = join([lane.run.model for lane in self._lanes])
        self._whole = True

    def _find_culprit(self, reason: str) -> dict[TrainingRun, Outcome]:
        """Train the epoch again, each lane alone; without a culprit they stay alone."""
        outcomes: dict[TrainingRun, Outcome] = {}
        for lane in self._lanes:
            outcomes[lane.run] = _advance_alone(lane.run)
        if not any(isinstance(outcome, Exception) for outcome in outcomes.values()):
            for run in [lane.run for lane in self._lanes]:
                self.drop(run)
                self.reasons[run] = reason
        return outcomes

    def _train_epoch(self) -> None:
        set_precision(self._lanes[0].run.training.precision)
        for lane in self._lanes:
            lane.begun = begin_epoch(lane.run)
            lane.random = torch.get_rng_state()
        self._check_networks()
        self._updates = None
        total = torch.zeros(self.width)
        while (taken := self._take_step()) is not None:
            losses, count = taken
            total += losses
            for lane in self._lanes:
                lane.epoch.count += count
        self._check_networks()
        for lane, loss in zip(self._lanes, total, strict=True):
            lane.epoch.loss = loss

    def _check_networks(self) -> None:
        """Check that no hook has given a network another form.

        Raises:
            CannotFuseError: one has.
        """
        assert self.key is not None
        for lane in self._lanes:
            if describe_network(lane.run.model) != self.key.network:
                raise CannotFuseError("a regulariser changes attributes of the network")

    def _take_step(self) -> tuple[Tensor, int] | None:
        losses, count = torch.zeros(self.width), 0
        while True:
            fed = [next(lane.epoch.batches, None) for lane in self._lanes]
            given = [one for one in fed if one is not None]
            if len(given) < len(fed):
                if given or count:
                    raise CannotFuseError("its trainings have different numbers of batches")
                return None
            last = given[0][1]
            losses += self._add([one for one, _ in given], last=last) * given[0][0].count
            count += given[0][0].count
            if last:
                break
        self._update()
        return losses, count

    def _update(self) -> None:
        """Update every lane; in an epoch's first step each does so alone, as hooks watch it."""
        if self._updates is not None:
            self._updates.take()
            return
        for lane in self._lanes:
            with lane.drawing():
                finish_step(lane.run, lane.epoch.number, lane.epoch.now)
        self._updates = Updates(self._lanes)

    def _add(self, fed: Sequence[Fed], *, last: bool) -> Tensor:
        """Add the gradients of a batch of every lane; returns the lanes' losses ``(L,)``."""
        batches, share = [], None
        for lane, one in zip(self._lanes, fed, strict=True):
            with lane.drawing():
                batch, share = lane.run.stepper.begin(one, last=last)
                batches.append(batch)
        losses = self._add_together(batches[: self._paired], share) if self._paired else []
        for lane, batch in zip(self._lanes[self._paired :], batches[self._paired :], strict=True):
            with lane.drawing():
                losses.append(lane.run.stepper.differentiate(batch, share, last=last))
        return torch.stack(losses)

    @property
    def _paired(self) -> int:
        """How many lanes share their passes: a last one without a partner makes its own."""
        return self.width - self.width % 2

    def _add_together(self, batches: Sequence[Batch], share: float | None) -> list[Tensor]:
        """Add the gradients of the lanes that share their passes; returns their losses."""
        lanes, stacks = self._lanes[: self._paired], [s[: self._paired] for s in self._stacks]
        given = _join_batches(batches, share)
        programs = self._programs.find_step(stacks, given)
        kinds = [(given.describe(), width) for width in programs.list_widths()]
        expected = [
            lane.step_alone(batch, share) if kind not in lane.checked else None
            for lane, batch, kind in zip(lanes, batches, kinds, strict=True)
        ]
        draws = []
        for lane in lanes:
            with lane.drawing():
                draws.append(programs.first.draw())
        made = programs.run(stacks, given, draws)
        for lane, kind, wanted, found in zip(lanes, kinds, expected, made, strict=True):
            if wanted is not None:
                lane.check(kind, wanted, found)
        for lane, (_, *gradients) in zip(lanes, made, strict=True):
            for weight, gradient in zip(lane.trained, gradients, strict=True):
                if gradient is not None:
                    _add_gradient(weight, gradient)
        return [row[0] for row in made if row[0] is not None]

    def _end_epoch(self) -> dict[TrainingRun, Outcome]:
        for lane in self._lanes:
            end_steps(lane.run, lane.epoch.number)
        measure = self._measure()
        outcomes: dict[TrainingRun, Outcome] = {}
        for lane, how in zip(self._lanes, measure, strict=True):
            try:
                outcomes[lane.run] = end_epoch(lane.run, lane.epoch, how)
            except TrainableError as error:
                outcomes[lane.run] = error
        return outcomes

    def _measure(self) -> list[Measure | None]:
        """How each lane measures its epoch; None for the usual way."""
        if not self.measured_alone and self._paired:
            lanes, stacks = self._lanes[: self._paired], [s[: self._paired] for s in self._stacks]
            runs, begun = [lane.run for lane in lanes], [lane.epoch for lane in lanes]
            try:
                made = pass_all(self._programs, runs, stacks, begun)
                alone: list[Measure | None] = [None] * (self.width - self._paired)
                return [*(made.of_lane(row) for row in range(self._paired)), *alone]
            except CannotFuseError as error:
                self.measured_alone = str(error)
        return [None] * self.width


def _join_batches(batches: Sequence[Batch], share: float | None) -> Given:
    """One batch of all lanes.

    Raises:
        CannotFuseError: they are not alike.
    """
    size = len(batches)
    mixes = any(b.other_y is not None for b in batches)
    smooths = any(b.smoothing for b in batches)
    ones = torch.ones(())
    return Given(
        x=join_nests([b.x for b in batches]),
        y=join_nests([b.y for b in batches]),
        other_y=join_nests([b.y if b.other_y is None else b.other_y for b in batches])
        if mixes
        else None,
        share=join_nests([ones if b.share is None else b.share for b in batches])
        if mixes
        else None,
        smoothing=torch.tensor([b.smoothing for b in batches], dtype=torch.float64)
        if smooths
        else None,
        part=None if share is None else torch.full((size,), share),
    )


def _add_gradient(weight: nn.Parameter, gradient: Tensor) -> None:
    """Add to a gradient as a backward pass does, in the memory layout of the weight."""
    if weight.grad is not None:
        weight.grad.add_(gradient)
    elif gradient.stride() == weight.stride():
        weight.grad = gradient
    else:
        weight.grad = torch.empty_like(weight).copy_(gradient)


def _advance_alone(run: TrainingRun) -> Outcome:
    try:
        return next(train(run))
    except Exception as error:
        clear_frames(error.__traceback__)  # they hold the tensors of its step
        return error


def _keep(run: TrainingRun) -> dict[str, Any]:
    """The state to go back to; what an epoch does not change in place is not copied."""
    state = run.state_dict()
    changing = ("model", "optimizer", "rates", "scaler", "regularisers")
    return {**state, **{name: copy_state(state[name]) for name in changing}}
