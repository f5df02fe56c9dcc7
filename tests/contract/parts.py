"""Subclasses of a trainable, each with one part of its own and the rest as it was."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.functions import Measured
from trainables.models import MLP


class OwnStep(MLP):
    """Adds the mean square of the outputs to the loss of a step."""

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        return super().step(model, batch) + model(batch.x).square().mean()


class OwnOptimizer(MLP):
    """RMSprop, whatever the spec says."""

    def optimizer(
        self, parameters: Iterable[nn.Parameter], training: Training
    ) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=training.lr)


class OwnMetrics(MLP):
    """Is judged by the largest output too."""

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {**super().metrics(outputs, targets), "largest": outputs.abs().amax(1)}


class OwnLosses(MLP):
    """Twice the loss."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2 * super().losses(outputs, targets)


class OwnEvaluate(MLP):
    """Measures the spread of the outputs too, by a second pass."""

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Measured]:
        return {**super().evaluate(model, batch), "spread": model(batch.x).std(1)}
