"""What a penalty of many lanes acts on: rows of all their weights, and their learning rates."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trainables.lanes.stacks import find_rows, share_rows
from trainables.loop import TrainingRun
from trainables.regularisers.base import Now, Subject
from trainables.regularisers.weights import Penalised


@dataclass
class JointSubject:
    """The ``subject`` of a penalty of some trainings, of which the first one describes all."""

    runs: Sequence[TrainingRun]
    subject: Subject
    _read: tuple[list[Tensor], Now] | None = field(default=None)

    @classmethod
    def of(cls, runs: Sequence[TrainingRun]) -> JointSubject | None:
        """That of trainings whose weights are slices of stacks; None if there is no such one."""
        first = runs[0]
        owner = next((r.subject for r in first.parts.regularisers.all), None)
        every = [_join_weight([run.penalised[n] for run in runs]) for n in _number(first)]
        weights = [weight for weight in every if weight is not None]
        if owner is None or len(weights) < len(every):
            return None
        rows: dict[Tensor, Tensor] = {}
        for one, joined in zip(first.penalised, weights, strict=True):
            rows[one.weight] = joined.weight
            if one.bias is not None and joined.bias is not None:
                rows[one.bias] = joined.bias
        optimizer = _join_optimizer(runs, rows)
        if optimizer is None:
            return None
        return cls(runs, replace(owner, weights=weights, optimizer=optimizer))

    def read(self, each: Sequence[Now], *, gradients: bool) -> Now | None:
        """The lanes' values of now, as rows ``(L, 1)``; None if their gradients lie apart."""
        if gradients and not self._read_gradients():
            return None
        values = [v for now in each for v in (now.lr, *now.rates)]
        values += [now.gradient_scale for now in each if self._clips]
        if self._read is None or any(map(_is_other, values, self._read[0])):
            self._read = values, _join_values(each)
        return self._read[1]

    def _read_gradients(self) -> bool:
        for number, weight in enumerate(self.subject.weights):
            each = [run.penalised[number].weight.grad for run in self.runs]
            found = [gradient for gradient in each if gradient is not None]
            rows = find_rows(found) if len(found) == len(each) else None
            if found and rows is None:
                return False
            weight.weight.grad = rows
        return True

    @property
    def _clips(self) -> bool:
        return self.subject.training.clip_norm is not None


def _is_other(one: Tensor, other: Tensor) -> bool:
    return one is not other


def _join_values(each: Sequence[Now]) -> Now:
    rates = [_join([now.rates[n] for now in each]) for n in range(len(each[0].rates))]
    scale = _join([now.gradient_scale for now in each])
    lr = _join([now.lr for now in each])
    return replace(each[0], lr=lr, rates=rates, gradient_scale=scale, of_each=tuple(each))


def _join(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).unsqueeze(1)


def _number(run: TrainingRun) -> range:
    return range(len(run.penalised))


@dataclass(frozen=True)
class _Rows(Penalised):
    """Weights of several trainings, rows ``(L, n)``; so are their biases, ``(L, units)``."""

    entries: int = 0

    @property
    def unit_size(self) -> int:
        """The entries of a unit, without its bias."""
        return self.entries

    def to_units(self, values: Tensor) -> Tensor:
        """Rows, or values of each training, as rows of all units."""
        return values.expand_as(self.weight).reshape(-1, self.entries)

    def from_units(self, rows: Tensor) -> Tensor:
        """Rows of all units as rows of trainings."""
        return rows.expand(-1, self.entries).reshape(self.weight.shape)

    def spread(self, strength: Tensor) -> Tensor:
        """The strength ``(L, 1)`` of each training for each of its units ``(L·units, 1)``."""
        units = self.weight.shape[1] // self.entries
        return strength.expand(-1, units).reshape(-1, 1)

    def find_any(self, units: Tensor) -> Tensor:
        """Whether something is true of any unit of each training ``(L,)``."""
        return units.view(len(self.weight), -1).any(1)


def _join_weight(each: Sequence[Penalised]) -> Penalised | None:
    """A weight of several trainings; None if they lie apart."""
    first, rows = each[0], find_rows([w.weight for w in each])
    biases = [w.bias for w in each if w.bias is not None]
    bias = find_rows(biases) if biases else None
    if rows is None or (biases and bias is None):
        return None
    entries = 0 if first.unit_axis is None else first.unit_size
    return _Rows(first.name, rows, bias, first.factor, first.unit_axis, first.derived, entries)


def _join_optimizer(
    runs: Sequence[TrainingRun], rows: Mapping[Tensor, Tensor]
) -> torch.optim.Optimizer | None:
    """The groups of the first optimiser and what all of them keep, of tensors that have rows."""
    optimizer = copy.copy(runs[0].parts.optimizer)
    groups = optimizer.param_groups
    optimizer.param_groups = [
        {**group, "params": [rows[p] for p in group["params"] if p in rows]} for group in groups
    ]
    optimizer.state = {}  # type: ignore[assignment]  # nothing is added to it
    every = [_list_acted_on(run) for run in runs]
    for each in zip(*every, strict=True):
        states = [run.parts.optimizer.state.get(p, {}) for run, p in zip(runs, each, strict=True)]
        shared = _share_state(states)
        if shared is None:
            return None
        optimizer.state[rows[each[0]]] = shared
    return optimizer


def _list_acted_on(run: TrainingRun) -> list[Tensor]:
    """The penalised weights and the biases of their units."""
    return [t for w in run.penalised for t in (w.weight, w.bias) if t is not None]


def _share_state(states: Sequence[Mapping[str, object]]) -> dict[str, Tensor] | None:
    """What the optimisers keep of a weight, in rows; None if that is not alike."""
    rows = {}
    for name, value in states[0].items():
        values = [v for state in states if isinstance(v := state.get(name), Tensor)]
        if len(values) < len(states):
            if value is None:
                continue
            return None
        found = share_rows(values)
        if found is None:
            return None
        rows[name] = values[0] if _are_equal_numbers(values) else found
    return rows


def _are_equal_numbers(values: Sequence[Tensor]) -> bool:
    """Whether they are one number, as counts of steps are; it then changes in all at once."""
    return not values[0].ndim and all(value == values[0] for value in values)
