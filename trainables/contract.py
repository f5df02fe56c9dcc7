"""The contract of a model: how to build its network, its losses and its metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.config.data_info import DataInfo
from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.errors import ContractError
from trainables.losses import (
    Function,
    compute_losses,
    compute_metrics,
    load_loss,
    load_metrics,
    smooth_labels,
)


class Trainable(ABC):
    """A network and how to train it. A subclass must define ``build`` and may override the rest.

    It is constructed with the spec's ``model`` arguments. :meth:`setup` sets ``info`` and is called
    before any other method.
    """

    higher_is_better: ClassVar[frozenset[str]] = frozenset({"accuracy"})
    info: DataInfo
    _loss: Function | None = None
    _metrics: Mapping[str, Function] = {}
    _better_high: frozenset[str] = frozenset()

    def setup(self, info: DataInfo, training: Training) -> None:
        """Set ``info``, and load the loss and metrics that the spec names.

        Raises:
            ContractError: one of them cannot be loaded or does not fit the task.
        """
        self.info = info
        self._loss = load_loss(training.loss, info.task)
        self._metrics = load_metrics(training.metrics)
        named = {m.name for m in training.metrics if m.higher_is_better}
        self._better_high = self.higher_is_better | named
        if self._loss is not None and type(self).losses is not Trainable.losses:
            raise ContractError(
                f"{type(self).__name__} defines losses itself; remove this key", "training.loss"
            )

    @abstractmethod
    def build(self, info: DataInfo) -> nn.Module:
        """A network from ``(B, *info.input_shape)`` to ``(B, info.outputs)``."""

    def optimizer(
        self, parameters: Iterable[nn.Parameter], training: Training
    ) -> torch.optim.Optimizer:
        """The optimiser of the spec, without weight decay: the loop applies penalties."""
        return training.optimizer.build(parameters, lr=training.lr, momentum=training.momentum)

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        """The differentiable loss of one training step, 0-dim, without penalty.

        Call ``model`` itself, not its submodules: with several workers, only that averages their
        gradients.
        """
        outputs = model(batch.x)
        losses = self.losses(outputs, batch.y)
        if batch.other_y is not None:
            assert batch.share is not None
            losses = batch.share * losses + (1 - batch.share) * self.losses(outputs, batch.other_y)
        return smooth_labels(losses, outputs, batch.smoothing).mean()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, or the mean ``()``, without penalty."""
        if self._loss is not None:
            return self._loss(outputs, targets)
        return compute_losses(outputs, targets, self.info.task)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The metrics of each sample ``(B,)``, or their means ``()``; averaged over samples."""
        return compute_metrics(outputs, targets, self.info.task)

    def evaluate(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``loss``, the metrics, and those that the spec names."""
        own = {name: function(outputs, targets) for name, function in self._metrics.items()}
        values = {"loss": self.losses(outputs, targets), **self.metrics(outputs, targets), **own}
        return {name: torch.as_tensor(value) for name, value in values.items()}

    def is_better_high(self, metric: str) -> bool:
        """Whether a higher value of a metric is better."""
        return metric in self._better_high
