"""The contract that a model meets to be swept: build a network, say its losses and metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own name for it
from torch import Tensor, nn

from trainables.hyper import Training
from trainables.info import DataInfo


class Trainable(ABC):
    """A network and how it is trained. A subclass overrides one part and leaves the rest.

    It is constructed with the spec's ``model`` arguments.
    """

    higher_is_better: ClassVar[frozenset[str]] = frozenset({"accuracy"})

    @abstractmethod
    def build(self, info: DataInfo) -> nn.Module:
        """A network from ``(B, *info.input_shape)`` to ``(B, info.outputs)``."""

    def optimizer(
        self, parameters: Iterable[nn.Parameter], training: Training
    ) -> torch.optim.Optimizer:
        """The optimiser of the spec. It decays no weights: penalties are the loop's."""
        match training.optimizer:
            case "adamw" | "adam":
                return torch.optim.Adam(parameters, lr=training.lr, fused=True)
            case "sgd":
                return torch.optim.SGD(
                    parameters, lr=training.lr, momentum=training.momentum, fused=True
                )

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Each sample's loss ``(B,)``, without penalty: cross-entropy, or mean squared error."""
        if targets.dtype == torch.long:
            return F.cross_entropy(outputs, targets, reduction="none")
        return F.mse_loss(outputs, targets, reduction="none").flatten(1).mean(1)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each sample's metrics ``(B,)``, to be averaged over samples."""
        if targets.dtype == torch.long:
            return {"accuracy": (outputs.argmax(1) == targets).to(outputs.dtype)}
        return {"mae": (outputs - targets).abs().flatten(1).mean(1)}
