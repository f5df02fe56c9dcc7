"""A group: trainings of one shape key that take their steps together.

A lane is a training whose network's tensors are slices of the stacks of a block: of so many lanes
as a program is for. What is not made for all lanes at once (its data's order, most regularisers,
schedule, averages, stopping, kept weights) is the lane's own, by the code that trains it alone; so
are its results, to the last bit.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from traceback import clear_frames
from typing import Any

import torch

from trainables.devices import list_used_generators
from trainables.errors import is_out_of_memory
from trainables.lanes.block import Block, Outcome
from trainables.lanes.lane import Lane
from trainables.lanes.programs import Programs
from trainables.lanes.reasons import CannotFuseError, explain
from trainables.lanes.shape_key import ShapeKey, explain_alone, find_key
from trainables.lanes.stacks import copy_state, own, part
from trainables.lanes.updates import describe_updates
from trainables.loop import TrainingRun, train

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
        self._blocks: list[tuple[Sequence[Lane], Block | None]] = []
        self._taken = 0

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
        self.key, self._programs = key, _find_programs(known, run)
        self._taken += 1
        trained = [p for p in run.model.parameters() if p.requires_grad]
        self._lanes.append(Lane(run, self._taken, describe_updates(run), trained))
        self._blocks = []

    def drop(self, run: TrainingRun) -> None:
        """Give a training back, after any epoch; it can go on alone."""
        if run in self.reasons:
            del self.reasons[run]
            return
        self._lanes = [lane for lane in self._lanes if lane.run is not run]
        part(run.model, run.parts.optimizer)
        self._blocks = []

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
        outcomes: dict[TrainingRun, Outcome] = {}
        self.ran_out, reason = False, ""
        for lanes, block in self._find_blocks():
            failure = None if block is None else self._advance_block(block, outcomes)
            if block is None or failure is not None:
                found = {lane.run: _advance_alone(lane.run) for lane in lanes}
                outcomes |= found
                if failure and not any(isinstance(one, Exception) for one in found.values()):
                    reason = failure  # no lane is to blame
        if reason:
            for run in [lane.run for lane in self._lanes]:
                self.drop(run)
                self.reasons[run] = reason
        return outcomes

    def _find_blocks(self) -> Sequence[tuple[Sequence[Lane], Block | None]]:
        """The blocks; none where their stacks do not fit in memory."""
        try:
            return self._divide()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self.ran_out, self._blocks = True, []
        return [([lane], None) for lane in self._lanes]

    def _advance_block(self, block: Block, outcomes: dict[TrainingRun, Outcome]) -> str | None:
        """Train a block; why that failed, if it did, after which its lanes are as before."""
        states: list[dict[str, Any]] = []
        block.measured_alone = self.measured_alone
        try:
            states = [_keep(lane.run) for lane in block.lanes]
            with torch.random.fork_rng(list_used_generators()):
                block.train_epoch()
            outcomes |= block.end_epoch()
            return None
        except Exception as error:
            for lane, state in zip(block.lanes, states, strict=False):
                lane.run.load_state_dict(state)
            reason, ran_out = str(explain(error)), is_out_of_memory(error)
        finally:
            self.measured_alone = block.measured_alone
        if ran_out:
            self.ran_out = True
            gc.collect()  # what was half made; the error, whose frames held it, is gone
        return reason

    def _divide(self) -> Sequence[tuple[Sequence[Lane], Block | None]]:
        """Lanes that share their steps, with their block; one without others has none."""
        if not self._blocks:
            assert self.key is not None
            alike = list(dict.fromkeys(lane.updates for lane in self._lanes))
            lanes = sorted(self._lanes, key=lambda lane: (alike.index(lane.updates), lane.number))
            for place in divide(len(lanes)):
                some = lanes[place]
                block = None
                if len(some) > 1:
                    block = Block(some, self._programs, self.key.network)
                else:
                    part(some[0].run.model, some[0].run.parts.optimizer)
                self._blocks.append((some, block))
        return self._blocks


def _find_programs(key: ShapeKey, run: TrainingRun) -> Programs:
    """The programs of a shape key; those that were used last are kept."""
    found = _PROGRAMS.pop(key, None)
    while found is None and len(_PROGRAMS) >= _KEPT:
        _PROGRAMS.pop(next(iter(_PROGRAMS)))
    return _PROGRAMS.setdefault(key, found or Programs(run))


def divide(width: int) -> list[slice]:
    """The largest powers of two that make up a width."""
    start, parts = 0, []
    while start < width:
        size = 1 << ((width - start).bit_length() - 1)
        parts.append(slice(start, start + size))
        start += size
    return parts


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
