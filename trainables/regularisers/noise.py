"""Gaussian noise on inputs and on gradients."""

from __future__ import annotations

import torch

from trainables.config import regularisers as config
from trainables.regularisers.base import Need, Now, Regulariser
from trainables.regularisers.input_changes import AtStrength
from trainables.regularisers.input_regulariser import InputRegulariser
from trainables.regularisers.pixels import Noise


class InputNoise(InputRegulariser):
    """Adds noise with one standard deviation to all inputs."""

    order = 30
    needs = frozenset({Need.FLOATS})

    def __init__(self, config: config.InputNoise) -> None:
        self.acts_on = config.input_noise_on
        self.change_all(AtStrength(Noise(), config.input_noise))


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
