"""Trainings on the folds of a cross-validation, one after another, as one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from trainables.config.folds import FOLD, FoldEpoch
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.placing import Placed
from trainables.regularisers.weights import Penalised
from trainables.run import EpochResult, Kept, Run


@dataclass(frozen=True)
class _EndedFold:
    """What is left of the training on a fold: its epochs, its metrics, what had no effect."""

    epochs: int
    kept: dict[str, float]
    control: dict[str, float] | None
    idle: tuple[str, ...]


class FoldedRun:
    """A :class:`trainables.run.Run` of a training on each of several folds.

    Every fold has a training of its own, from the same seed, which ends and keeps weights by
    itself. Metrics at the kept weights are means over the folds; the weights are the first fold's.
    A part has no effect if it has none on any fold. One fold's network and samples exist at a time.
    """

    def __init__(self, folds: int, open_fold: Callable[[int], Run]) -> None:
        """``open_fold`` opens the training on a fold, from 0."""
        self._folds, self._open_fold = folds, open_fold
        self._number = 1
        self._ended: list[_EndedFold] = []
        self._kept: dict[str, Tensor] = {}
        self._marked: dict[str, Tensor] = {}
        self._run: Run | None = None
        self._training: Training | None = None
        self._limit: int | None = None

    @property
    def _current(self) -> Run:
        if self._run is None:
            self._run = self._open_fold(self._number - 1)
            self._training = self._run.training
            if self._limit is not None:
                self._run.end_after(self._limit)
        return self._run

    @property
    def training(self) -> Training:
        """That of the current fold; of the last one while the next cannot be opened."""
        return self._training or self._current.training

    @property
    def trainable(self) -> Trainable:
        """That of the current fold."""
        return self._current.trainable

    @property
    def data(self) -> Placed:
        """The samples of the current fold."""
        return self._current.data

    @property
    def subset(self) -> Tensor | None:
        """That of the current fold."""
        return self._current.subset

    @property
    def model(self) -> nn.Module:
        """The network of the current fold."""
        return self._current.model

    @property
    def penalised(self) -> Sequence[Penalised]:
        """The weights of the current fold's network."""
        return self._current.penalised

    @property
    def measured(self) -> bool:
        """As on the current fold."""
        return self._current.measured

    @property
    def last_result(self) -> EpochResult | None:
        """The result of the last epoch; None before the first."""
        found = self._current.last_result
        return None if found is None else self._place(found)

    @property
    def best_state(self) -> dict[str, Tensor]:
        """The weights kept on the first fold."""
        return self._kept if self._ended else self._current.best_state

    @property
    def control(self) -> Kept | None:
        """What early stopping would have kept on the first fold."""
        if not self._ended:
            return self._current.control
        first = self._ended[0].control
        return None if first is None else Kept(EpochResult(0, first, True), self._marked)

    def autocast(self) -> AbstractContextManager[object]:
        """The autocast context of a forward pass."""
        return self._current.autocast()

    def end_after(self, epochs: int) -> None:
        """End on every fold after so many epochs."""
        self._limit = epochs
        if self._run is not None:
            self._run.end_after(epochs)

    def close(self) -> None:
        """End the training on the current fold."""
        if self._run is not None:
            self._run.close()

    def train(self) -> Iterator[EpochResult]:
        """The remaining epochs of this fold, and those of the next ones.

        Raises:
            TrainableError: the training cannot go on.
        """
        while True:
            for result in self._current.train():
                if result.done:
                    self._end_fold(self._current, result)
                yield self._place(result)
            if self._number == self._folds:
                return
            self.close()
            self._run = None  # frees its network and samples before the next fold's are opened
            self._number += 1

    def best_metrics(self) -> dict[str, float]:
        """Means over the folds of the metrics at the kept weights, ``epoch`` among them."""
        return _average([fold.kept for fold in self._ended])

    def control_metrics(self) -> dict[str, float] | None:
        """Means over the folds; None for a training without a control."""
        found = [fold.control for fold in self._ended if fold.control is not None]
        return _average(found) if found else None

    def list_idle(self) -> tuple[str, ...]:
        """The parts without any effect on any fold."""
        first, *others = (fold.idle for fold in self._ended)
        return tuple(part for part in first if all(part in idle for idle in others))

    def state_dict(self) -> dict[str, Any]:
        """The state of the current fold's training, and what is left of the earlier ones."""
        return {
            "folds": [{**asdict(fold), "idle": list(fold.idle)} for fold in self._ended],
            "number": self._number,
            "kept": self._kept,
            "marked": self._marked,
            "current": self._current.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the same training."""
        self._ended = [
            _EndedFold(**{**fold, "idle": tuple(fold["idle"])}) for fold in state["folds"]
        ]
        self._number = int(state["number"])
        self._kept, self._marked = dict(state["kept"]), dict(state["marked"])
        self._run = None
        self._current.load_state_dict(state["current"])

    def _end_fold(self, run: Run, last: EpochResult) -> None:
        if len(self._ended) == self._number:
            return
        if not self._ended:
            self._kept = run.best_state
            self._marked = {} if run.control is None else run.control.state
        self._ended.append(
            _EndedFold(last.epoch, run.best_metrics(), run.control_metrics(), run.list_idle())
        )

    def _place(self, result: EpochResult) -> EpochResult:
        """The result of an epoch of the current fold as one of the whole training."""
        number = self._number
        before = sum(fold.epochs for fold in self._ended[: number - 1])
        ended = self._ended[number - 1] if len(self._ended) >= number else None
        where = FoldEpoch(number, result.epoch)
        if ended is not None and result.done:
            where = FoldEpoch(number, result.epoch, ended.kept, ended.control)
        done = result.done and number == self._folds
        metrics = {**result.metrics, FOLD: float(number)}
        return EpochResult(before + result.epoch, metrics, done, where)


def _average(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric that all folds have."""
    first, *others = folds
    return {
        name: fmean(fold[name] for fold in folds)
        for name in first
        if all(name in fold for fold in others)
    }
