"""The contract of what can be swept: a network, its optimiser, its losses and its metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from trainables.config.data_info import DataInfo, Task
from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.data.nests import count_samples
from trainables.errors import ContractError, blame
from trainables.forward import call_network, computes_loss, read_loss, read_outputs
from trainables.functions import Function, Measured, Pooled
from trainables.losses import (
    IGNORED,
    check_shapes,
    compute_losses,
    compute_metrics,
    fits,
    load_loss,
    smooth_labels,
)
from trainables.metrics import OwnMetric, load_metrics
from trainables.return_checks import check_losses, check_named, read_values


class Trainable(ABC):
    """A network and how it is trained. A subclass defines :meth:`build` and may override the rest.

    It is constructed with the spec's ``model`` arguments, once per trial. ``info`` is set by
    :meth:`setup`, which is called before everything else. ``higher_is_better`` names the metrics of
    which more is better; it decides the sign of their gaps. ``steps_per_epoch`` is set before
    :meth:`optimizer` is called: the steps of the optimiser in an epoch, None where the data do not
    say.
    """

    higher_is_better: ClassVar[frozenset[str]] = frozenset({"accuracy"})
    info: DataInfo
    steps_per_epoch: int | None = None
    threshold: float = 0.0
    """Of one output for two classes, or of a label: 0.5 where the network ends in a sigmoid."""
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
        """A new network, on the CPU; torch's generator is seeded (``training.weight_init_seed``).

        It is called as :meth:`forward` says. For a built-in loss it returns a tensor, or an object
        with ``.logits``: logits ``(B, info.outputs)`` of classes or labels, one logit ``(B, 1)`` of
        two classes, logits for each position ``(B, C, H, W)`` or ``(B, T, C)``, or predictions of a
        regression in the targets' shape.
        """

    def optimizer(self, parameters: Iterable[nn.Parameter], training: Training) -> Any:
        """The optimiser of the spec. An override must not decay weights: that is a penalty.

        It returns an optimiser, whose groups may have any rates: the spec's schedule scales each.
        Or it returns schedulers as well, as ``(optimizer, scheduler)``, ``(optimizer, [scheduler,
        …])`` or ``{"optimizer": …, "scheduler": …, "interval": "epoch", "monitor": "val/loss"}``,
        also with Lightning's ``lr_scheduler``; each scheduler may be such a dict. They then set the
        rates, and the spec's schedule is not used. ``interval`` is ``step`` or ``epoch`` (default;
        ``step`` for ``OneCycleLR`` and ``CyclicLR``), and ``ReduceLROnPlateau`` gets the metric
        ``monitor``, by default ``val/loss``. :attr:`steps_per_epoch` is known here.
        """
        return training.optimizer.build(parameters, lr=training.lr, momentum=training.momentum)

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """The network's outputs: ``model(x)``, ``model(*x)`` or ``model(**x)``, by ``batch.x``."""
        return call_network(model, batch.x)

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of one training step, 0-dim and differentiable, without penalty.

        Call ``model`` as a whole, not its parts: where several workers share it, only its own
        ``forward`` averages their gradients. An override that ignores ``batch.other_y`` and
        ``batch.smoothing`` has no mixup, CutMix or label smoothing.
        """
        made = self.forward(model, batch)
        if self._takes_loss_of(model, batch):
            return read_loss(made)
        return self.combine_losses(read_outputs(made), batch)

    def combine_losses(self, outputs: Any, batch: Batch) -> Tensor:
        """The mean loss of a batch, 0-dim, with its mixed targets and label smoothing."""
        losses = self._compute_losses(outputs, batch.y)
        if batch.other_y is not None:
            assert batch.share is not None
            others = self._compute_losses(outputs, batch.other_y)
            losses = batch.share * losses + (1 - batch.share) * others
        if isinstance(batch.smoothing, Tensor) or batch.smoothing:  # of many lanes: a tensor
            losses = smooth_labels(losses, outputs, batch.y, batch.smoothing)
        return losses.mean()

    def losses(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of each sample ``(B,)``, or one of all ``()``, without penalty."""
        if self._loss is not None:
            losses: Tensor = self._loss(outputs, targets)
            return losses
        check_shapes(outputs, targets, self.info)
        return compute_losses(outputs, targets, self.info.task)

    def metrics(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Metrics by name, of each sample ``(B,)`` or one of all ``()``.

        One of all is computed from all samples of a split together.
        """
        if not fits(outputs, targets, self.info.task):
            return {}
        return compute_metrics(outputs, targets, self.info.task, self.threshold)

    def evaluate(self, model: nn.Module, batch: Batch) -> Mapping[str, Measured]:
        """``loss`` and the metrics of a batch, those of the spec too.

        Each is one value per sample ``(B,)``, a pair of a sum and its count, or an object with
        ``update``, ``compute`` and ``reset`` that has taken the batch into account.
        """
        return self.evaluate_made(self.forward(model, batch), model, batch)

    def evaluate_made(self, made: Any, model: nn.Module, batch: Batch) -> Mapping[str, Measured]:
        """What :meth:`evaluate` returns, from what :meth:`forward` made of the batch."""
        outputs, targets = read_outputs(made), batch.y
        own = {metric.name: metric.measure(outputs, targets) for metric in self._metrics}
        if self._takes_loss_of(model, batch):
            return {**dict(self._measure_loss_of(made, targets)), **own}
        return {
            "loss": self._measure_loss(outputs, targets),
            **dict(self._measure_metrics(outputs, targets)),
            **own,
        }

    @property
    def own_metrics(self) -> Sequence[OwnMetric]:
        """The metrics of the spec."""
        return self._metrics

    @property
    def has_own_loss(self) -> bool:
        """Whether the loss is not a built-in one."""
        return self._loss is not None or type(self).losses is not Trainable.losses

    def _takes_loss_of(self, model: nn.Module, batch: Batch) -> bool:
        """Whether the network computes the loss, from labels among its inputs."""
        return computes_loss(model, batch.x) and not self.has_own_loss

    def _compute_losses(self, outputs: Any, targets: Any) -> Tensor:
        """The losses of a batch, of each sample or one of all; an own loss is checked."""
        if not self.has_own_loss:
            return self.losses(outputs, targets)
        where, name = self._loss_names
        with blame(where, name):
            return check_losses(self.losses(outputs, targets), count_samples(targets), name)

    @property
    def _loss_names(self) -> tuple[str, str]:
        """The key of the loss in the spec, and what it is called in errors."""
        if self._loss is not None:
            return "training.loss", "the loss of training.loss"
        return "trainable", f"{type(self).__name__}.losses"

    def _measure_loss_of(self, made: Any, targets: Tensor) -> Iterator[tuple[str, Measured]]:
        """The network's own loss, which is a mean over labels, and accuracy where it is plain."""
        labels = int((targets != IGNORED).sum())
        yield "loss", (read_loss(made).double() * labels, labels)
        outputs, task = read_outputs(made), self.info.task
        plain = task is Task.CLASSIFICATION and targets.numel() == len(targets)
        if plain and fits(outputs, targets, task):
            yield from compute_metrics(outputs, targets, task).items()

    def _measure_loss(self, outputs: Any, targets: Any) -> Measured:
        where, name = self._loss_names
        if self._loss is not None:
            return Pooled(self._loss, outputs, targets, where, name)
        losses = self._compute_losses(outputs, targets)
        return losses if losses.ndim else Pooled(self.losses, outputs, targets, where, name)

    def _measure_metrics(self, outputs: Any, targets: Any) -> Iterator[tuple[str, Measured]]:
        owner = f"{type(self).__name__}.metrics"
        with blame("trainable", owner):
            found = check_named(self.metrics(outputs, targets), owner)
        if "loss" in found:
            raise ContractError(f"{owner} returned 'loss', which is the name of the losses' mean")
        for name, values in found.items():
            what = f"{name!r} of {owner}"
            value = read_values(values, count_samples(targets), what)
            if value.ndim:
                yield name, value
            else:
                compute = partial(self._compute_metric, name)
                yield name, Pooled(compute, outputs, targets, "trainable", what)

    def _compute_metric(self, name: str, outputs: Any, targets: Any) -> Tensor:
        return self.metrics(outputs, targets)[name]

    def is_better_high(self, metric: str) -> bool:
        """Whether higher values of a metric (``accuracy``) are better."""
        return metric in self._better_high
