"""The updates of a group's lanes: penalties and the optimiser's step, made at once where they can.

A lane's update is what ``Stepper.step`` does, in its order. Lanes that do the same take each part
of it together: a penalty on rows of all their weights, torch's optimiser on the weights of all.
What is made at once for the first time is also made by each lane alone. If a bit differs, each lane
goes on making it alone, as it does with everything that has no form for many.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from trainables.lanes.batched_calls import are_same
from trainables.lanes.gradients import Gradients
from trainables.lanes.joint_optimizer import JointOptimizer, share_states
from trainables.lanes.joint_subject import JointSubject
from trainables.lanes.lane import Lane
from trainables.lanes.stacks import copy_state
from trainables.loop import TrainingRun, set_rates
from trainables.regularisers.base import Now, Regulariser
from trainables.regularisers.effect_watch import Watched

Hook = Callable[[Now], None]
_MOST = 8
"""Lanes of a CPU, of different numbers of steps, that make a penalty's update at once; torch
computes powers of more numbers otherwise."""
_ENTRIES = 2**19
"""Entries of a weight in lanes of a CPU, at most: more of them leave its cache."""
_KNOWN: dict[Hashable, bool] = {}
"""Whether updates at once have the bits of each alone, by what they are."""


def can_update(lanes: Sequence[Lane]) -> bool:
    """Whether all have taken a step, in which an optimiser makes what it keeps."""
    return all(lane.run.steps for lane in lanes)


class Updates:
    """The updates of an epoch."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._with_own = [row for row, lane in enumerate(lanes) if _has_own_hook(lane.run)]
        by_class = _group_by_optimizer(lanes)
        for rows in by_class:
            share_states([lanes[row] for row in rows])
        self._parts = [_Part(part) for part in _divide(lanes)]
        self._optimizers = [JointOptimizer(lanes, rows) for rows in by_class]

    def take(self, gradients: Gradients) -> None:
        """Update every lane by the gradients that were added, which lanes were given."""
        for lane in self._lanes:
            set_rates(lane.run, lane.epoch.number, lane.epoch.now)
            lane.run.stepper.open(lane.epoch.now)
        for part in self._parts:
            part.act(0)
        for row in self._with_own:
            gradients.take_back(row)
        for lane in self._lanes:
            lane.run.stepper.clip(lane.epoch.now)
        for optimizer in self._optimizers:
            optimizer.step(gradients)
        for lane in self._lanes:
            lane.run.stepper.note(lane.epoch.now)
        for part in self._parts:
            part.act(1)
        for lane in self._lanes:
            lane.run.stepper.close(lane.epoch.now)
            lane.run.steps += 1


def _group_by_optimizer(lanes: Sequence[Lane]) -> list[list[int]]:
    """The positions of lanes whose optimisers are of one class."""
    found: dict[type, list[int]] = {}
    for row, lane in enumerate(lanes):
        found.setdefault(type(lane.run.parts.optimizer), []).append(row)
    return list(found.values())


def _has_own_hook(run: TrainingRun) -> bool:
    """Whether a hook before the step is always the lane's own, which may replace a gradient."""
    return any(_describe(hook) is None for hook in _list_hooks(run)[0])


def describe_updates(run: TrainingRun) -> Hashable:
    """What is equal of trainings that update their weights in the same way."""
    return tuple(tuple(map(_describe, side)) for side in _list_hooks(run))


def _list_hooks(run: TrainingRun) -> tuple[Sequence[Hook], Sequence[Hook]]:
    """The hooks before and after the optimiser's step."""
    found = run.parts.regularisers
    return found.before_step, found.after_step


def _describe(hook: Hook) -> Hashable | None:
    owner = _find_owner(hook)
    return None if owner is None else owner.describe_update()


def _find_owner(hook: Hook) -> Regulariser | None:
    inner = hook.hook if isinstance(hook, Watched) else hook
    owner = getattr(inner, "__self__", None)
    return owner if isinstance(owner, Regulariser) else None


def _divide(lanes: Sequence[Lane]) -> Iterator[list[Lane]]:
    """Lanes one after the other that update in the same way, as many as fit."""
    for _, alike in groupby(lanes, key=_find_kind):
        some = list(alike)
        most = _count_most(some)
        yield from (some[start : start + most] for start in range(0, len(some), most))


def _find_kind(lane: Lane) -> Hashable:
    """What is equal of the lanes of a part.

    Torch's optimisers keep the number of their steps on the CPU. A GPU cannot read rows of such
    numbers, and multiplies by the reciprocal of one where it divides by it.
    """
    run = lane.run
    kept = (v for state in run.parts.optimizer.state.values() for v in state.values())
    counts = run.data.device != "cpu" and any(isinstance(v, Tensor) and not v.ndim for v in kept)
    return describe_updates(run), run.steps if counts else 0


def _count_most(lanes: Sequence[Lane]) -> int:
    run = lanes[0].run
    if run.data.device != "cpu":
        return len(lanes)
    largest = max((w.weight.numel() for w in run.penalised), default=1)
    most = len(lanes) if len({lane.run.steps for lane in lanes}) == 1 else _MOST
    return max(1, min(most, _ENTRIES // largest))


class _Part:
    """Lanes that update in the same way."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        every = [_list_hooks(lane.run) for lane in lanes]
        self._hooks = [list(zip(*(hooks[n] for hooks in every), strict=True)) for n in (0, 1)]
        self._updates = [[_describe(hooks[0]) for hooks in side] for side in self._hooks]
        self._joined: dict[Regulariser, Regulariser] = {}
        self._subject: JointSubject | None = None
        if len(lanes) > 1 and any(any(side) for side in self._updates):
            self._subject = JointSubject.of([lane.run for lane in lanes])

    def act(self, side: int) -> None:
        """Call the hooks before the optimiser's step (0) or after it (1)."""
        for hooks, update in zip(self._hooks[side], self._updates[side], strict=True):
            if update is None or self._subject is None or self._are_watched(hooks):
                self._call_each(hooks)
            else:
                self._call(side, hooks, (update, side, len(hooks)))

    def _are_watched(self, hooks: Sequence[Hook]) -> bool:
        """Whether it is to be seen in this step that one of them changes something."""
        pairs = zip(self._lanes, hooks, strict=True)
        return any(isinstance(h, Watched) and h.watches(lane.epoch.now) for lane, h in pairs)

    def _call(self, side: int, hooks: Sequence[Hook], kind: Hashable) -> None:
        """Call a hook of every lane, at once if that has the bits of each alone."""
        assert self._subject is not None
        owner = _find_owner(hooks[0])
        assert owner is not None
        gradients = side == 0 and owner.reads_gradients
        nows = [lane.epoch.now for lane in self._lanes]
        joins = _KNOWN.get(kind, True)
        now = self._subject.read(nows, gradients=gradients) if joins else None
        if now is None:
            self._call_each(hooks)
        elif kind in _KNOWN:
            self._call_joined(side, hooks, now)
        else:
            _KNOWN[kind] = self._compare(side, hooks, now)

    def _call_each(self, hooks: Sequence[Hook]) -> None:
        for lane, hook in zip(self._lanes, hooks, strict=True):
            with lane.drawing():
                hook(lane.epoch.now)

    def _call_joined(self, side: int, hooks: Sequence[Hook], now: Now) -> None:
        assert self._subject is not None
        owners = [owner for hook in hooks if (owner := _find_owner(hook)) is not None]
        if owners[0] not in self._joined:
            self._joined[owners[0]] = owners[0].join(owners[1:], self._subject.subject)
        joined = self._joined[owners[0]]
        (joined.after_step if side else joined.before_step)(now)

    def _compare(self, side: int, hooks: Sequence[Hook], now: Now) -> bool:
        """Call them at once and each alone, and keep the latter's; whether they are equal."""
        owners = [owner for hook in hooks if (owner := _find_owner(hook)) is not None]
        before = [value.clone() for value in self._list_values()]
        states = [copy_state(owner.state_dict()) for owner in owners]
        noises = [lane.epoch.now.noise.get_state() for lane in self._lanes]
        self._call_joined(side, hooks, now)
        found = [value.clone() for value in self._list_values()]
        made = [copy_state(owner.state_dict()) for owner in owners]
        restore(self._list_values(), before)
        for owner, state in zip(owners, states, strict=True):
            owner.load_state_dict(state)
        for lane, noise in zip(self._lanes, noises, strict=True):
            lane.epoch.now.noise.set_state(noise)
        self._call_each(hooks)
        same = all(map(are_same, found, self._list_values()))
        return same and all(
            _are_equal_states(one, owner.state_dict())
            for one, owner in zip(made, owners, strict=True)
        )

    def _list_values(self) -> list[Tensor]:
        weights = [weight for lane in self._lanes for weight in lane.trained]
        return [*weights, *(w.grad for w in weights if w.grad is not None)]


def _are_equal_states(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    pairs = zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True)
    return all(are_same(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


@torch.no_grad()
def restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Give tensors these values."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
