"""The contract of what can be swept: a network, its optimiser, its losses and its metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.config.data_info import DataInfo
from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.errors import ContractError
from trainables.functions import Function, Measured, Pooled
from trainables.losses import compute_losses, compute_metrics, load_loss, smooth_labels
from trainables.metrics import OwnMetric, load_metrics


class Trainable(ABC):
    """A network and how it is trained. A subclass defines :meth:`build` and may override the rest.

    It is constructed with the spec's ``model`` arguments, once per trial. ``info`` is set by
    :meth:`setup`, which is called before everything else. ``higher_is_better`` names the metrics of
    which more is better; it decides the sign of their gaps.
    """

    higher_is_better: ClassVar[frozenset[str]] = frozenset({"accuracy"})
    info: DataInfo
    _loss: Function | None = None
    _metrics: Sequence[OwnMetric] = ()
    _better_high: frozenset[str] = frozenset()

    def setup(self, info: DataInfo, training: Training) -> None:
        """Set ``info``, and load the loss and the metrics of the spec.

        Raises:
            ContractError: one of them cannot be loaded or does not fit the task.
        """
        self.info = info
        self._loss = load_loss(training.loss, info.task)
        self._metrics = load_metrics(training.metrics)
        named = {metric.name for metric in self._metrics if metric.higher_is_better}
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
        """The loss of each sample ``(B,)``, or one of all ``()``, without penalty."""
        if self._loss is not None:
            losses: Tensor = self._loss(outputs, targets)
            return losses
        return compute_losses(outputs, targets, self.info.task)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Metrics by name, of each sample ``(B,)`` or one of all ``()``.

        One of all is computed from all samples of a split together.
        """
        return compute_metrics(outputs, targets, self.info.task)

    def evaluate(self, model: nn.Module, batch: Batch) -> Mapping[str, Measured]:
        """``loss`` and the metrics of a batch, those of the spec too.

        Each is one value per sample ``(B,)``, a pair of a sum and its count, or an object with
        ``update``, ``compute`` and ``reset`` that has taken the batch into account.
        """
        outputs, targets = model(batch.x), batch.y
        own = {metric.name: metric.measure(outputs, targets) for metric in self._metrics}
        return {
            "loss": self._measure_loss(outputs, targets),
            **dict(self._measure_metrics(outputs, targets)),
            **own,
        }

    def _measure_loss(self, outputs: Tensor, targets: Tensor) -> Measured:
        if self._loss is not None:
            return Pooled(self._loss, outputs, targets)
        losses = self.losses(outputs, targets)
        return losses if losses.ndim else Pooled(self.losses, outputs, targets)

    def _measure_metrics(self, outputs: Tensor, targets: Tensor) -> Iterator[tuple[str, Measured]]:
        for name, value in self.metrics(outputs, targets).items():
            if torch.as_tensor(value).ndim:
                yield name, value
            else:
                yield name, Pooled(partial(self._compute_metric, name), outputs, targets)

    def _compute_metric(self, name: str, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.metrics(outputs, targets)[name]

    def is_better_high(self, metric: str) -> bool:
        """Whether higher values of a metric (``accuracy``) are better."""
        return metric in self._better_high
