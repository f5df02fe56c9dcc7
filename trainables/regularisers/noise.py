"""Gaussian noise on inputs and on gradients."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from trainables.config import regularisers as config
from trainables.config.data_info import DataInfo
from trainables.data.batch import Batch
from trainables.regularisers.base import Now, Regulariser, explain_discrete


class InputNoise(Regulariser):
    """Adds noise with one standard deviation to all inputs."""

    order = 30

    def __init__(self, config: config.InputNoise) -> None:
        self._deviation = config.input_noise

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Check that the inputs are floats: noise would make other ids of ids."""
        return explain_discrete(info)

    def on_batch(self, batch: Batch) -> Batch:
        """The noisy batch."""
        return replace(batch, x=batch.x + self._deviation * torch.randn_like(batch.x))


class GradientNoise(Regulariser):
    """Deviation ``η/(1 + t)^0.275``. Neelakantan et al. 2015, eq. 1 (their η is a variance)."""

    order = 20

    def __init__(self, config: config.GradientNoise) -> None:
        self._deviation = config.gradient_noise

    @torch.no_grad()
    def before_step(self, now: Now) -> None:
        """Add noise to every gradient."""
        scale = self._deviation / (1 + now.step) ** 0.275
        for group in self.subject.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    noise = torch.empty_like(parameter.grad).normal_(generator=now.noise)
                    parameter.grad.add_(scale * noise)
