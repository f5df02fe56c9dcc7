"""Gaussian noise on inputs and on gradients."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import torch
from torch import Tensor

from trainables.config import regularisers as config
from trainables.regularisers.base import Need, Now, Regulariser, Subject
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
    reads_gradients = False

    def __init__(self, config: config.GradientNoise) -> None:
        self._deviation = config.gradient_noise

    def describe_update(self) -> Hashable | None:
        """Nothing: each draws its own noise."""
        return GradientNoise if type(self) is GradientNoise else None

    def join(self, others: Sequence[GradientNoise], subject: Subject) -> Regulariser:
        """One that adds the noise of each to its gradients."""
        return _GradientNoises((self, *others))

    def before_step(self, now: Now) -> None:
        """Add noise to every gradient."""
        _add_noise([(self, now)])

    def list_gradients(self) -> Iterator[Tensor]:
        """The gradients of all parameters that have one."""
        for group in self.subject.optimizer.param_groups:
            yield from (p.grad for p in group["params"] if p.grad is not None)

    def scale(self, step: int) -> float:
        """The deviation in a step."""
        return self._deviation / float((1 + step) ** 0.275)


class _GradientNoises(Regulariser):
    """The noise of several trainings."""

    def __init__(self, each: Sequence[GradientNoise]) -> None:
        self._each = each

    def before_step(self, now: Now) -> None:
        """Add each one's noise to its gradients."""
        _add_noise(list(zip(self._each, now.of_each, strict=True)))


@torch.no_grad()
def _add_noise(pairs: Sequence[tuple[GradientNoise, Now]]) -> None:
    gradients, noises, scales = [], [], []
    for one, now in pairs:
        for gradient in one.list_gradients():
            gradients.append(gradient)
            noises.append(torch.empty_like(gradient).normal_(generator=now.noise))
            scales.append(one.scale(now.step))
    if gradients:
        torch._foreach_mul_(noises, scales)
        torch._foreach_add_(gradients, noises)
