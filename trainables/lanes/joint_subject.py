"""What a penalty of many lanes acts on: rows of all their weights, and their learning rates."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trainables.lanes.stacks import find_rows, share_rows
from trainables.loop import TrainingRun
from trainables.regularisers.base import Now, Subject


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
        rows = [find_rows([run.penalised[n].weight for run in runs]) for n in _number(first)]
        if any(row is None for row in rows):
            return None
        weights = [
            replace(w, weight=row, bias=None, unit_axis=None)
            for w, row in zip(first.penalised, rows, strict=True)
            if row is not None
        ]
        optimizer = copy.copy(first.parts.optimizer)
        positions = {id(w.weight): n for n, w in enumerate(first.penalised)}
        optimizer.param_groups = [
            {
                **group,
                "params": [
                    weights[positions[id(p)]].weight for p in group["params"] if id(p) in positions
                ],
            }
            for group in optimizer.param_groups
        ]
        optimizer.state = {}  # type: ignore[assignment]  # nothing is added to it
        for number, weight in enumerate(weights):
            state = _share_state([_find_state(run, number) for run in runs])
            if state is None:
                return None
            optimizer.state[weight.weight] = state
        owner = next((r.subject for r in first.parts.regularisers.all), None)
        if owner is None:
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
    return replace(each[0], lr=_join([now.lr for now in each]), rates=rates, gradient_scale=scale)


def _join(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).unsqueeze(1)


def _number(run: TrainingRun) -> range:
    return range(len(run.penalised))


def _find_state(run: TrainingRun, number: int) -> dict[str, object]:
    found: dict[str, object] = run.parts.optimizer.state.get(run.penalised[number].weight, {})
    return found


def _share_state(states: Sequence[dict[str, object]]) -> dict[str, Tensor] | None:
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
