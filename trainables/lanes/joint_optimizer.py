"""The steps of many lanes' optimisers by one optimiser of torch, on the weights of all.

Torch's optimisers update each weight by itself. One with the weights of all lanes, in a group for
each of their learning rates, takes their steps with a fraction of the calls of Python.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.compat import is_plain_optimizer, is_sgd
from trainables.lanes.calls import are_same
from trainables.lanes.lane import Lane

_KNOWN: dict[Hashable, bool] = {}
"""Whether steps at once have the bits of each alone, by the optimiser."""


class JointOptimizer:
    """Takes the steps of all lanes, which keep their optimisers and what these keep."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = [lane for lane in lanes if _can_join(lane)]
        self._alone = [lane for lane in lanes if not _can_join(lane)]
        self._made: Optimizer | None = None
        self._rates: list[float] = []
        self._places: list[int] = []
        self._kind = frozenset(map(_describe, self._lanes))

    def step(self) -> None:
        """Take a step of every lane's optimiser."""
        for lane in self._alone:
            _step_alone(lane)
        if not self._lanes:
            return
        made = self._prepare()
        if self._kind not in _KNOWN:
            _KNOWN[self._kind] = self._compare(made)
        elif _KNOWN[self._kind]:
            for lane in self._lanes:
                lane.run.rates.note_step()
            made.step()
            self._give_back(made)
        else:
            for lane in self._lanes:
                _step_alone(lane)

    def _prepare(self) -> Optimizer:
        """The optimiser of all, with the learning rates of now."""
        groups = list(self._list_groups())
        rates = [group["lr"] for group in groups]
        if self._made is None or rates != self._rates:
            self._rates = rates
            self._made = self._made if self._set_rates(rates) else self._make(groups)
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

    def _make(self, groups: Sequence[Mapping[str, Any]]) -> Optimizer:
        joined: dict[Hashable, dict[str, Any]] = {}
        for group in groups:
            kind = (_describe_group(group), group["lr"])
            own = {**group, "params": []}
            joined.setdefault(kind, own)["params"].extend(group["params"])
        kinds = list(joined)
        self._places = [kinds.index((_describe_group(g), g["lr"])) for g in groups]
        first = self._lanes[0].run.parts.optimizer
        made = type(first)(list(joined.values()), **first.defaults)
        made.state = defaultdict(dict)
        for lane in self._lanes:
            made.state.update(lane.run.parts.optimizer.state)
        self._kept = len(made.state)
        return made

    def _give_back(self, made: Optimizer) -> None:
        """Give each optimiser what was made for a weight that had its first gradient."""
        if len(made.state) == self._kept:
            return
        for lane in self._lanes:
            optimizer = lane.run.parts.optimizer
            for group in optimizer.param_groups:
                found = {p: made.state[p] for p in group["params"] if p in made.state}
                optimizer.state.update(found)

    def _list_groups(self) -> Iterator[Mapping[str, Any]]:
        for lane in self._lanes:
            yield from lane.run.parts.optimizer.param_groups

    def _compare(self, made: Optimizer) -> bool:
        """Step at once and each alone, and keep the latter's; whether they are equal."""
        tensors = list(self._list_values())
        before = [tensor.clone() for tensor in tensors]
        made.step()
        found = [tensor.clone() for tensor in tensors]
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
        for lane in self._lanes:
            _step_alone(lane)
        return all(map(are_same, found, tensors))

    def _list_values(self) -> Iterator[Tensor]:
        for lane in self._lanes:
            optimizer = lane.run.parts.optimizer
            yield from (p for group in optimizer.param_groups for p in group["params"])
            for state in optimizer.state.values():
                yield from (value for value in state.values() if isinstance(value, Tensor))


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


def _describe(lane: Lane) -> Hashable:
    optimizer = lane.run.parts.optimizer
    return type(optimizer), tuple(map(_describe_group, optimizer.param_groups))


def _describe_group(group: Mapping[str, Any]) -> str:
    """Its options but for the learning rate."""
    return repr({key: value for key, value in group.items() if key not in ("lr", "params")})
