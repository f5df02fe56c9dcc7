"""The steps of many lanes' optimisers by one optimiser of torch, on the weights of all.

Torch's optimisers update each weight by itself, and most of them each entry. One with rows of all
lanes' weights, in a group for each of their learning rates, takes their steps with a fraction of
the calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.compat import is_plain_optimizer, is_sgd
from trainables.lanes.batched_calls import are_same, depends_on_place
from trainables.lanes.gradients import Gradients
from trainables.lanes.lane import Lane
from trainables.lanes.stacks import join_rows, share_rows

_KNOWN: dict[Hashable, bool] = {}
"""Whether steps at once have the bits of each alone, by the optimiser."""


@dataclass
class _Weight:
    """A weight of one lane, or of some lanes that follow each other (``rows``).

    ``counts`` are numbers that the joint optimiser keeps for all lanes, each with theirs ``(L,)``.
    """

    number: int
    rows: slice
    tensor: Tensor
    state: dict[str, Tensor] | None = None
    counts: list[tuple[Tensor, Tensor]] = field(default_factory=list)


def share_states(lanes: Sequence[Lane]) -> None:
    """Let what the optimisers of lanes keep be slices of stacks, where it is alike."""
    for number in range(len(lanes[0].trained)):
        states = _list_states(lanes, number)
        for name in states[0]:
            values = [v for state in states if isinstance(v := state.get(name), Tensor)]
            if len(values) == len(lanes):
                share_rows(values)


class JointOptimizer:
    """Takes the steps of lanes, which keep their optimisers and what these keep."""

    def __init__(self, lanes: Sequence[Lane], rows: Sequence[int]) -> None:
        """``lanes`` are all lanes of a block; at ``rows`` are those with one class of optimiser."""
        self._lanes = lanes
        self._rows = [row for row in rows if _can_join(lanes[row])]
        self._joined = [lanes[row] for row in self._rows]
        self._alone = [lanes[row] for row in rows if row not in self._rows]
        self._made: Optimizer | None = None
        self._weights: list[_Weight] = []
        self._rates: list[float] = []
        self._places: list[int] = []
        self._kind = frozenset(map(_describe, self._joined))

    def step(self, gradients: Gradients) -> None:
        """Take a step of every lane's optimiser by gradients that lanes were given."""
        for lane in self._alone:
            _step_alone(lane)
        if not self._joined:
            return
        if not _KNOWN.get(self._kind, True):
            for lane in self._joined:
                _step_alone(lane)
            return
        made = self._prepare()
        if self._kind not in _KNOWN:
            _KNOWN[self._kind] = self._compare(made, gradients)
            self._made = None
            return
        for lane in self._joined:
            lane.run.rates.note_step()
        self._step_joined(made, gradients)
        self._give_back(made)

    def _prepare(self) -> Optimizer:
        """The optimiser of all, with the learning rates of now."""
        rates = [group["lr"] for lane in self._joined for group in _list_groups(lane)]
        if self._made is None or rates != self._rates:
            self._rates = rates
            if not self._set_rates(rates):
                self._made = self._make()
        assert self._made is not None
        return self._made

    def _set_rates(self, rates: Sequence[float]) -> bool:
        """Change the rates of the groups; False if they have to be divided otherwise."""
        if self._made is None:
            return False
        new: dict[int, float] = {}
        for place, rate in zip(self._places, rates, strict=True):
            if new.setdefault(place, rate) != rate:
                return False
        for place, rate in new.items():
            self._made.param_groups[place]["lr"] = rate
        return True

    def _make(self) -> Optimizer:
        groups: dict[Hashable, dict[str, Any]] = {}
        self._weights, self._places = [], []
        for row in self._rows:
            for group in _list_groups(self._lanes[row]):
                kind = _describe_group(group), group["lr"]
                groups.setdefault(kind, {**group, "params": []})
                self._places.append(list(groups).index(kind))
        for rows in self._list_runs():
            for number, group in enumerate(_list_groups(self._lanes[rows.start])):
                found = list(self._join_weights(rows, number))
                self._weights += found
                kind = _describe_group(group), group["lr"]
                groups[kind]["params"] += [weight.tensor for weight in found]
        first = self._joined[0].run.parts.optimizer
        made = type(first)(list(groups.values()), **first.defaults)
        made.state = defaultdict(dict)
        for lane in self._joined:
            made.state.update(lane.run.parts.optimizer.state)
        made.state.update({w.tensor: w.state for w in self._weights if w.state is not None})
        self._kept = len(made.state)
        return made

    def _list_runs(self) -> Iterator[slice]:
        """Lanes that follow each other, of equal options and learning rates."""
        kinds = {row: _list_kinds(self._lanes[row]) for row in self._rows}

        def find_kind(row: int) -> Hashable:
            return kinds.get(row)

        for kind, some in groupby(range(len(self._lanes)), find_kind):
            rows = list(some)
            if kind is not None:
                yield slice(rows[0], rows[-1] + 1)

    def _join_weights(self, rows: slice, group: int) -> Iterator[_Weight]:
        """The weights of a group of some lanes: of all as rows, or of each."""
        lanes = self._lanes[rows]
        for number in _number_weights(lanes[0])[group]:
            joined = _join_weight(lanes, rows, number)
            if joined is not None:
                yield joined
                continue
            for row, lane in enumerate(lanes, rows.start):
                yield _Weight(number, slice(row, row + 1), lane.trained[number])

    def _step_joined(self, made: Optimizer, gradients: Gradients) -> None:
        for weight in self._weights:
            if weight.state is not None:
                stack = gradients.stacks[weight.number]
                weight.tensor.grad = None if stack is None else stack[weight.rows]
        made.step()
        for weight in self._weights:
            for kept, each in weight.counts:
                each.copy_(kept)

    def _give_back(self, made: Optimizer) -> None:
        """Give each optimiser what was made for a weight that had its first gradient."""
        if len(made.state) == self._kept:
            return
        for lane in self._joined:
            optimizer = lane.run.parts.optimizer
            for group in optimizer.param_groups:
                found = {p: made.state[p] for p in group["params"] if p in made.state}
                optimizer.state.update(found)

    def _compare(self, made: Optimizer, gradients: Gradients) -> bool:
        """Step at once and each alone, and keep the latter's; whether they are equal."""
        tensors = list(self._list_values())
        before = [tensor.clone() for tensor in tensors]
        self._step_joined(made, gradients)
        found = [tensor.clone() for tensor in tensors]
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
        for lane in self._joined:
            _step_alone(lane)
        return all(map(are_same, found, tensors))

    def _list_values(self) -> Iterator[Tensor]:
        for lane in self._joined:
            optimizer = lane.run.parts.optimizer
            yield from (p for group in optimizer.param_groups for p in group["params"])
            for state in optimizer.state.values():
                yield from (value for value in state.values() if isinstance(value, Tensor))


def _join_weight(lanes: Sequence[Lane], rows: slice, number: int) -> _Weight | None:
    """A weight of some lanes as rows; None if they do not lie so, or are not updated alike.

    Entries beyond whole vectors, of each thread, are computed by code that rounds in another way.
    """
    each = [lane.trained[number] for lane in lanes]
    states = [
        lane.run.parts.optimizer.state.get(w, {}) for lane, w in zip(lanes, each, strict=True)
    ]
    tensor = join_rows(each)
    if tensor is None or len(each) < 2 or depends_on_place(each[:1]):
        return None
    made = _Weight(number, rows, tensor, {})
    assert made.state is not None
    for name, first in states[0].items():
        values = [state[name] for state in states if name in state]
        if len(values) < len(states):
            return None
        if first.shape == each[0].shape:
            shared = share_rows(values)
            if shared is None:
                return None
            made.state[name] = shared.view(tensor.shape)
        elif not first.ndim and all(value == first for value in values):
            kept, shared = first.clone(), share_rows(values)
            assert shared is not None
            made.state[name] = kept
            made.counts.append((kept, shared))
        else:
            return None
    return made


def _list_states(lanes: Sequence[Lane], number: int) -> list[dict[str, Any]]:
    """What the optimisers of lanes keep of a weight."""
    return [lane.run.parts.optimizer.state.get(lane.trained[number], {}) for lane in lanes]


def _step_alone(lane: Lane) -> None:
    with lane.drawing():
        lane.run.parts.optimizer.step()


def _can_join(lane: Lane) -> bool:
    """Whether its optimiser is torch's, has made what it keeps, and keeps nothing but tensors."""
    optimizer = lane.run.parts.optimizer
    values = [value for state in optimizer.state.values() for value in state.values()]
    return (
        is_plain_optimizer(optimizer)
        and (bool(values) or is_sgd(optimizer))
        and all(isinstance(value, Tensor) for value in values)
        and all(isinstance(group["lr"], float) for group in optimizer.param_groups)
    )


def _list_groups(lane: Lane) -> list[dict[str, Any]]:
    return lane.run.parts.optimizer.param_groups


def _describe(lane: Lane) -> Hashable:
    optimizer = lane.run.parts.optimizer
    return type(optimizer), tuple(map(_describe_group, optimizer.param_groups))


def _list_kinds(lane: Lane) -> Hashable:
    groups = _list_groups(lane)
    rates = tuple(group["lr"] for group in groups)
    return tuple(map(_describe_group, groups)), rates, _number_weights(lane)


def _number_weights(lane: Lane) -> tuple[tuple[int, ...], ...]:
    """The numbers of the weights in each of its optimiser's groups that are trained."""
    numbers = {id(weight): number for number, weight in enumerate(lane.trained)}
    return tuple(
        tuple(numbers[id(p)] for p in group["params"] if id(p) in numbers)
        for group in _list_groups(lane)
    )


def _describe_group(group: Mapping[str, Any]) -> str:
    """Its options but for the learning rate."""
    return repr({key: value for key, value in group.items() if key not in ("lr", "params")})
