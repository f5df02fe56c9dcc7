"""What drives, evaluates and keeps a training, whoever wrote its loop: the interface of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from trainables.config.folds import FoldEpoch
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.placing import Placed
from trainables.regularisers.weights import Penalised


@dataclass(frozen=True)
class EpochResult:
    """``epoch`` counts from 1; ``done`` marks the last one.

    ``fold`` is where it is in a training on several folds, over all of which ``epoch`` counts.
    """

    epoch: int
    metrics: Mapping[str, float]
    done: bool
    fold: FoldEpoch | None = None


@dataclass(frozen=True)
class Kept:
    """The result of an epoch and a copy of its weights on the CPU."""

    result: EpochResult
    state: dict[str, Tensor]


class Run(Protocol):
    """One training: an iterator of epoch results, with what is kept of it.

    Our loop is one implementation, a user's own loop another. Every attribute may be read before
    the first epoch and after the last one.
    """

    @property
    def training(self) -> Training:
        """The training's options, with the trial's parameters."""

    @property
    def trainable(self) -> Trainable:
        """How a batch is evaluated."""

    @property
    def data(self) -> Placed:
        """The training and validation samples on the device."""

    @property
    def subset(self) -> Tensor | None:
        """The training samples that are measured; None for all of ``data.measured``."""

    @property
    def model(self) -> nn.Module:
        """The network.

        Raises:
            ContractError: a user's own loop does not show one.
        """

    @property
    def penalised(self) -> Sequence[Penalised]:
        """The weights that penalties act on."""

    @property
    def last_result(self) -> EpochResult | None:
        """The result of the last epoch; None before the first."""

    @property
    def best_state(self) -> dict[str, Tensor]:
        """The weights that are kept so far; empty before the first epoch, or without a network."""

    @property
    def control(self) -> Kept | None:
        """What early stopping would have kept of a training that runs to its end."""

    @property
    def measured(self) -> bool:
        """Whether samples of the data can be measured, test samples too."""

    def autocast(self) -> AbstractContextManager[object]:
        """The autocast context of a forward pass."""

    def train(self) -> Iterator[EpochResult]:
        """The remaining epochs; the last result is ``done``, with the best weights restored.

        Raises:
            TrainableError: the training cannot go on.
        """

    def end_after(self, epochs: int) -> None:
        """End after so many epochs, not after ``training.max_epochs``, by which schedules go.

        Call it before the first epoch.
        """

    def close(self) -> None:
        """End a training that nobody iterates over any more; it raises nothing."""

    def best_metrics(self) -> dict[str, float]:
        """The metrics at the kept weights, and their ``epoch``; call it after the last epoch."""

    def control_metrics(self) -> dict[str, float] | None:
        """The metrics at the control's weights; None for a training without a control."""

    def list_idle(self) -> tuple[str, ...]:
        """The parts without any effect on the kept weights; call it after the last epoch."""

    def state_dict(self) -> dict[str, Any]:
        """The state needed to resume after the last epoch, in types that ``weights_only`` loads."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the same training."""
