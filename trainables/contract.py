"""The contract of what can be swept: a network, its optimiser, its losses and its metrics."""

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
    """A network and how it is trained. A subclass defines :meth:`build` and may override the rest.

    It is constructed with the spec's ``model`` arguments, once per trial. ``info`` is set by
    :meth:`setup`, which is called before everything else. ``higher_is_better`` names the metrics of
    which more is better; it decides the sign of their gaps.
    """

    higher_is_better: ClassVar[frozenset[str]] = frozenset({"accuracy"})
    info: DataInfo
    _loss: Function | None = None
    _metrics: Mapping[str, Function] = {}
    _better_high: frozenset[str] = frozenset()

    def setup(self, info: DataInfo, training: Training) -> None:
        """Set ``info``, and load the loss and the metrics of the spec.

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
        """A new network from ``(B, *info.input_shape)`` to ``(B, info.outputs)``, on the CPU.

        Torch's generator is seeded before (``training.weight_init_seed``). Outputs are logits of
        classes or labels, or predictions of a regression.
        """

    def optimizer(
        self, parameters: Iterable[nn.Parameter], training: Training
    ) -> torch.optim.Optimizer:
        """The optimiser of the spec. An override must not decay weights: that is a penalty."""
        return training.optimizer.build(parameters, lr=training.lr, momentum=training.momentum)

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of one training step, 0-dim and differentiable, without penalty.

        Call ``model`` as a whole, not its parts: where several workers share it, only its own
        ``forward`` averages their gradients. An override that ignores ``batch.other_y`` and
        ``batch.smoothing`` has no mixup, CutMix or label smoothing.
        """
        outputs = model(batch.x)
        losses = self.losses(outputs, batch.y)
        if batch.other_y is not None:
            assert batch.share is not None
            losses = batch.share * losses + (1 - batch.share) * self.losses(outputs, batch.other_y)
        return smooth_labels(losses, outputs, batch.smoothing).mean()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample ``(B,)``, or their mean ``()``, without penalty."""
        if self._loss is not None:
            return self._loss(outputs, targets)
        return compute_losses(outputs, targets, self.info.task)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Metrics by name, of each sample ``(B,)`` or their means ``()``; averaged over samples."""
        return compute_metrics(outputs, targets, self.info.task)

    def evaluate(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``loss``, the metrics, and those of the spec, each as in :meth:`metrics`."""
        own = {name: function(outputs, targets) for name, function in self._metrics.items()}
        values = {"loss": self.losses(outputs, targets), **self.metrics(outputs, targets), **own}
        return {name: torch.as_tensor(value) for name, value in values.items()}

    def is_better_high(self, metric: str) -> bool:
        """Whether higher values of a metric (``accuracy``) are better."""
        return metric in self._better_high
