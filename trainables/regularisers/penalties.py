"""Penalties: λ times a function of the weights, in the training loss only."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.compat import compute_adam_steps
from trainables.config import regularisers as config
from trainables.config.construct import construct
from trainables.config.penalties import CustomPenalty, penalties
from trainables.errors import ContractError
from trainables.regularisers import penalty_steps
from trainables.regularisers.base import Now, Regulariser, Subject


def build_penalty(config: config.Penalty) -> Penalty:
    """The penalty that a point names, with λ and its other parameters.

    Raises:
        ContractError: a user-defined class cannot be imported, or is not a subclass of Penalty.
    """
    offered = {"lam": config.lam, "l1_ratio": config.l1_ratio}
    named = penalties.parse(config.penalty)
    ours = not isinstance(named, CustomPenalty)
    made: Penalty = construct(
        named.path, {}, offered, expected=CustomPenalty.expected, checked=ours
    )
    return made


class Penalty(Regulariser):
    """λ·Σ value(w) over the penalised weights w, added to the training loss by its gradient.

    A subclass defines :meth:`value`; a space's ``penalty`` names it (``module:Class``). It is built
    with ``lam``, the space's λ, and with ``l1_ratio`` if its constructor has this argument. A
    weight's factor (``training.penalised.scale``) and ``training.lambda_schedule`` multiply λ. A
    penalty with a better update than its gradient (a proximal operator) overrides ``before_step``
    and ``after_step``.
    """

    order = 10
    acts_on_weights = True

    def __init__(self, lam: float) -> None:
        self.lam = lam

    def value(self, weight: Tensor) -> Tensor:
        """The penalty of one weight tensor at λ = 1.

        ``weight`` has any shape and requires a gradient; the result is 0-dim and differentiable.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define value(weight)")

    def acted(self, epoch: int) -> bool:
        """Whether λ was above 0 in an epoch up to then, and for a weight."""
        factor = self.subject.training.lambda_factor
        scheduled = any(factor(e) > 0 for e in range(1, epoch + 1))
        return self.lam > 0 and scheduled and any(w.factor > 0 for w in self.subject.weights)

    def before_epoch(self, now: Now) -> None:
        """Apply the schedule of λ."""
        self._strength = now.lambda_factor * self.lam

    def before_step(self, now: Now) -> None:
        """Add the penalty's gradient to that of each weight which has one."""
        for w in self.subject.weights:
            leaf = w.weight.detach().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(self.value(leaf), leaf)
            if w.weight.grad is not None:
                w.weight.grad.add_(self._strength * w.factor * gradient)


class ElasticNet(Penalty):
    """λ·(l1_ratio·Σ|w| + (1 − l1_ratio)·Σw²).

    The L1 term is applied by soft-thresholding (``training.l1_update: proximal``) or by its
    subgradient, the L2 term by weight decay (``l2_update: decoupled``) or by its gradient.
    """

    def __init__(self, lam: float, l1_ratio: float) -> None:
        super().__init__(lam)
        self._l1, self._l2 = lam * l1_ratio, lam * (1.0 - l1_ratio)

    def attach(self, subject: Subject) -> None:
        """Choose how to apply both terms.

        Raises:
            ContractError: the optimiser does not support an adaptive threshold.
        """
        super().attach(subject)
        training = subject.training
        self._proximal = bool(self._l1) and training.l1_update == "proximal"
        self._subgradient = bool(self._l1) and not self._proximal
        self._coupled = bool(self._l2) and training.couples_l2
        self._decoupled = bool(self._l2) and not self._coupled
        self._adaptive = self._proximal and training.proximal_step == "adaptive"
        if self._adaptive and isinstance(subject.optimizer, torch.optim.SGD):
            self._adaptive = False
        elif self._adaptive and not isinstance(subject.optimizer, torch.optim.Adam):
            raise ContractError(
                f"`adaptive` requires torch.optim.Adam, not {type(subject.optimizer).__name__}; "
                "`lr` works with any optimiser",
                "training.proximal_step",
            )

    def before_epoch(self, now: Now) -> None:
        """Move the strengths of both terms to the device of the weights."""
        strengths = [now.lambda_factor * self._l1, now.lambda_factor * self._l2]
        self._l1_now, self._l2_now = torch.tensor(strengths, device=now.lr.device).unbind()

    def before_step(self, now: Now) -> None:
        """Add gradients, then decay the weights at which the gradient was computed."""
        weights = self.subject.weights
        if self._subgradient:
            penalty_steps.add_subgradient(weights, self._l1_now)
        if self._coupled:
            penalty_steps.add_coupled_gradient(weights, self._l2_now)
        if self._decoupled:
            penalty_steps.apply_decoupled_decay(weights, now.lr, self._l2_now)

    def after_step(self, now: Now) -> None:
        """Soft-threshold the weights, which gives exact zeros."""
        if self._proximal:
            weights = self.subject.weights
            steps = self._adaptive_steps(now.lr) if self._adaptive else [now.lr] * len(weights)
            penalty_steps.apply_proximal_step(weights, steps, self._l1_now)

    def _adaptive_steps(self, lr: Tensor) -> list[Tensor]:
        """``lr/(√v̂ + ε)``, the metric of Adam's step. Melchior et al. 2019, Proximal Adam."""
        optimizer = self.subject.optimizer
        assert isinstance(optimizer, torch.optim.Adam)
        return [compute_adam_steps(optimizer, w.weight, lr) for w in self.subject.weights]


class L1(ElasticNet):
    """λ·Σ|w|."""

    def __init__(self, lam: float) -> None:
        super().__init__(lam, 1.0)


class L2(ElasticNet):
    """λ·Σw²; ``weight_decay`` of torch's optimisers is 2λ."""

    def __init__(self, lam: float) -> None:
        super().__init__(lam, 0.0)


class GroupLasso(Penalty):
    """λ·Σ√n·‖unit‖ over units of n parameters, biases included; makes whole units 0."""

    def acted(self, epoch: int) -> bool:
        """Whether λ was above 0, for weights that have units."""
        return super().acted(epoch) and any(w.unit_axis is not None for w in self.subject.weights)

    def before_epoch(self, now: Now) -> None:
        """Move the strength to the device of the weights."""
        self._now = torch.tensor(now.lambda_factor * self.lam, device=now.lr.device)

    def before_step(self, now: Now) -> None:
        """Do nothing: the penalty is applied by its proximal operator."""

    def after_step(self, now: Now) -> None:
        """Shrink every unit towards 0."""
        penalty_steps.apply_group_step(self.subject.weights, now.lr, self._now)
