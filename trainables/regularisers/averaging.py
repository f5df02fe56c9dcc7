"""Averages of the weights over a training, which are evaluated instead of the weights."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config import regularisers as config
from trainables.regularisers.base import Now, Regulariser, Subject

_LOWEST = 0.1
"""The learning rate at the end of a cycle, as a share of that at its start."""
_FEWEST = 2
"""Weights that an average is of, at least."""


def build_averaging(config: config.Averaging) -> Averaging:
    """The average that a point names."""
    return MovingAverage(config.ema) if config.ema else LastEpochsAverage(config.swa)


class Averaging(Regulariser):
    """A second network that holds the average, including buffers."""

    order = 90
    recomputes_norms = True
    reads_gradients = False

    def __init__(self) -> None:
        self._count = 0

    def attach(self, subject: Subject) -> None:
        """Copy the network."""
        super().attach(subject)
        self._model = copy.deepcopy(subject.model).requires_grad_(False)
        self._places = tuple(_pair_places(self._model, subject.model))

    def evaluated(self) -> nn.Module | None:
        """The averaged network, as soon as there is one."""
        return self._model if self._count else None

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of updates."""
        return {"model": self._model.state_dict(), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        self._model.load_state_dict(state["model"])
        self._count = int(state["count"])

    def _move(self, weight: float) -> None:
        _move_all([(self, weight)])


@dataclass(frozen=True)
class _Place:
    """A tensor of the average and the one that it is of, by the dictionaries that hold them."""

    averaged: Mapping[str, Tensor | None]
    source: Mapping[str, Tensor | None]
    name: str

    def read(self) -> tuple[Tensor, Tensor]:
        """Both as they are now: code of the network may have replaced one."""
        averaged, source = self.averaged[self.name], self.source[self.name]
        assert averaged is not None
        assert source is not None
        return averaged, source


def _pair_places(averaged: nn.Module, source: nn.Module) -> Iterator[_Place]:
    """Every parameter and stored buffer of two equal networks, a shared one once."""
    seen: set[int] = set()
    for mine, theirs in zip(averaged.modules(), source.modules(), strict=True):
        for held, of, left_out in (
            (mine._parameters, theirs._parameters, set[str]()),
            (mine._buffers, theirs._buffers, mine._non_persistent_buffers_set),
        ):
            for name, tensor in held.items():
                if tensor is not None and name not in left_out and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield _Place(held, of, name)


@torch.no_grad()
def _move_all(moves: Sequence[tuple[Averaging, float]]) -> None:
    """Move averages towards what they are of, each by its weight; the first time all the way."""
    moved: tuple[list[Tensor], list[Tensor]] = ([], [])
    copied: tuple[list[Tensor], list[Tensor]] = ([], [])
    weights: list[float] = []
    for average, weight in moves:
        for averaged, source in (place.read() for place in average._places):
            moves_on = bool(average._count) and averaged.is_floating_point()
            averages, sources = moved if moves_on else copied
            averages.append(averaged)
            sources.append(source)
            weights += [weight] * moves_on
        average._count += 1
    if weights:
        torch._foreach_lerp_(*moved, weights)
    if copied[0]:
        torch._foreach_copy_(*copied)


class MovingAverage(Averaging):
    """EMA: a moving average after every step.

    Polyak & Juditsky 1992; the decay grows as ``(1 + t)/(10 + t)`` up to its value, so that the
    first weights are forgotten.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self._decay = decay

    def describe_update(self) -> Hashable | None:
        """Nothing: each has its own decay and number of updates."""
        return MovingAverage if type(self) is MovingAverage else None

    def join(self, others: Sequence[MovingAverage], subject: Subject) -> Regulariser:
        """One that moves all averages."""
        return _MovingAverages((self, *others))

    def after_step(self, now: Now) -> None:
        """Update the average."""
        self._move(self.find_weight())

    def find_weight(self) -> float:
        """The share of the next weights in the average."""
        return 1 - min(self._decay, (1 + self._count) / (10 + self._count))


class _MovingAverages(Regulariser):
    """The moving averages of several trainings."""

    def __init__(self, each: Sequence[MovingAverage]) -> None:
        self._each = each

    def after_step(self, now: Now) -> None:
        """Update every average."""
        _move_all([(one, one.find_weight()) for one in self._each])


class LastEpochsAverage(Averaging):
    """SWA: the mean of the weights after each of the last epochs. Izmailov et al. 2018.

    They are the last ``share`` of the epochs that run. Where early stopping would end the training
    after E epochs, share·E/(1 − share) more follow, and those are averaged; where it does not, the
    last ones of ``max_epochs`` are. Their learning rate is constant or cyclic
    (``training.swa_lr_share``, ``swa_cycle``), as that of a schedule would be near 0; with a cycle
    the weights at its end are averaged.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def attach(self, subject: Subject) -> None:
        """Copy the network, and plan for a training that nothing stops."""
        super().attach(subject)
        self._rate = subject.training.lr * subject.training.swa_lr_share
        self.end_after(subject.training.max_epochs)

    def end_after(self, epochs: int) -> None:
        """Average the share of these epochs at their end."""
        self._last = epochs
        self._cycle = min(self.subject.training.swa_cycle, max(1, epochs // _FEWEST))
        self._first = 1 + max(0, epochs - self._count_averaged(self._share * epochs))

    def count_more_epochs(self, epoch: int) -> int:
        """Begin after this epoch, unless it has begun; run the share of the epochs."""
        if epoch < self._first - 1:
            wanted = self._count_averaged(self._share * epoch / (1 - self._share))
            self._first, self._last = epoch + 1, min(epoch + wanted, self._last)
        return self._last - epoch

    def learning_rate(self, epoch: int, lr: float) -> float:
        """That of SWA, as soon as it has begun."""
        if epoch < self._first:
            return lr
        done = ((epoch - self._first) % self._cycle + 1) / self._cycle
        return self._rate * (1 - done * (1 - _LOWEST) if self._cycle > 1 else 1)

    def after_epoch(self, epoch: int) -> None:
        """Update the mean at the end of a cycle."""
        if epoch >= self._first and (epoch - self._first + 1) % self._cycle == 0:
            self._move(1 / (self._count + 1))

    def acted(self, epoch: int) -> bool:
        """Whether the weights after this epoch are an average of several."""
        return (epoch - self._first + 1) // self._cycle >= _FEWEST

    def state_dict(self) -> dict[str, Any]:
        """The average, and which epochs it is of."""
        return {**super().state_dict(), "first": self._first, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self._first = int(state.get("first", self._first))
        self._last = int(state.get("last", self._last))

    def _count_averaged(self, epochs: float) -> int:
        """Whole cycles of about so many epochs."""
        return max(_FEWEST, round(epochs / self._cycle)) * self._cycle
