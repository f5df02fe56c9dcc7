"""What a step does to the weights besides the gradient of the loss, put together once a trial.

Only what is asked for is in the lists, so that a training without regularisers pays for none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.config.training import Regularisation, Training
from trainables.errors import ContractError
from trainables.regularisers import penalties
from trainables.regularisers.penalties import Penalised

Update = Callable[["Now"], None]


@dataclass
class Now:
    """The values a step reads, 0-dim on the weights' device; the loop sets them every epoch.

    ``noise`` is the gradients' generator, which every process of a group seeds alike. ``step``
    counts the optimiser's steps from 0 over the whole training.
    """

    lr: Tensor
    l1: Tensor
    l2: Tensor
    group: Tensor
    noise: torch.Generator
    step: int = 0


class Updates:
    """What happens ``before`` the optimiser's step, once there are gradients, and ``after`` it.

    Decoupled decay comes before, on the weights that the gradient was taken at, as in AdamW.

    Raises:
        ContractError: the optimiser does not have what an adaptive threshold needs.
    """

    def __init__(
        self,
        weights: Sequence[Penalised],
        optimizer: torch.optim.Optimizer,
        training: Training,
        regularisation: Regularisation,
    ) -> None:
        self._weights, self._optimizer = weights, optimizer
        r, t = regularisation, training
        strengths = penalties.strengths(r.penalty, r.lam, r.l1_ratio)
        self.before: list[Update] = []
        self.after: list[Update] = []
        if strengths.l1 and t.l1_update == "subgradient":
            self.before.append(lambda now: penalties.add_subgradient(weights, now.l1))
        if strengths.l2 and t.l2_update == "coupled":
            self.before.append(lambda now: penalties.add_coupled_gradient(weights, now.l2))
        if r.gradient_noise:
            self.before.append(lambda now: self._gradient_noise(r.gradient_noise, now))
        if strengths.l2 and t.l2_update == "decoupled":
            self.before.append(lambda now: penalties.decoupled_step(weights, now.lr, now.l2))
        if strengths.l1 and t.l1_update == "proximal":
            self.after.append(self._proximal(t.proximal_step))
        if strengths.group:
            self.after.append(lambda now: penalties.group_step(weights, now.lr, now.group))
        if r.max_norm is not None:
            limit = torch.tensor(r.max_norm)
            self.after.append(lambda _: penalties.max_norm_step(weights, limit))

    def _proximal(self, step: str) -> Update:
        if step == "adaptive" and isinstance(self._optimizer, torch.optim.Adam):
            return lambda now: penalties.proximal_step(
                self._weights, self._adaptive_steps(now.lr), now.l1
            )
        if step == "adaptive" and not isinstance(self._optimizer, torch.optim.SGD):
            raise ContractError(
                "training.proximal_step: adaptive is for torch.optim.Adam, not "
                f"{type(self._optimizer).__name__}; lr is for any optimiser"
            )
        return lambda now: penalties.proximal_step(
            self._weights, [now.lr] * len(self._weights), now.l1
        )

    def _adaptive_steps(self, lr: Tensor) -> list[Tensor]:
        """``lr/(√v̂ + ε)``: the metric of Adam's own step. Melchior et al. 2019, Proximal Adam."""
        group = self._optimizer.param_groups[0]
        _, beta = group["betas"]
        steps = []
        for w in self._weights:
            state = self._optimizer.state[w.weight]
            if not state:  # it had no gradient yet
                steps.append(torch.zeros_like(lr))
                continue
            corrected = state["exp_avg_sq"] / (1 - beta ** state["step"])
            steps.append(lr / (corrected.sqrt() + group["eps"]))
        return steps

    @torch.no_grad()
    def _gradient_noise(self, deviation: float, now: Now) -> None:
        """Deviation ``η/(1 + t)^0.275``. Neelakantan et al. 2015, eq. 1 (whose η is a variance)."""
        scale = deviation / (1 + now.step) ** 0.275
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    noise = torch.empty_like(parameter.grad).normal_(generator=now.noise)
                    parameter.grad.add_(scale * noise)


def lambda_factor(training: Training, epoch: int) -> float:
    """What λ is multiplied by in an epoch, counted from 1.

    ``warmup`` grows linearly and reaches 1 in epoch ``lambda_warmup_epochs``; ``cosine`` falls
    from 1 towards 0 over ``max_epochs``.
    """
    match training.lambda_schedule:
        case "constant":
            return 1.0
        case "warmup":
            return min(1.0, epoch / training.lambda_warmup_epochs)
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (epoch - 1) / training.max_epochs))
