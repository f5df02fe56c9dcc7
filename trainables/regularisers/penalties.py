"""Penalties: λ times a function of the weights, in the training loss only."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from trainables.compat import is_sgd
from trainables.config import regularisers as config
from trainables.config.construct import construct
from trainables.config.penalties import CustomPenalty, penalties
from trainables.regularisers import penalty_steps
from trainables.regularisers.base import Now, Regulariser, Subject
from trainables.regularisers.step_sizes import RowSteps, WeightSteps
from trainables.regularisers.weights import Penalised, have_units_in_rows


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
    acts_each_step = True

    def __init__(self, lam: float) -> None:
        self.lam = lam

    def value(self, weight: Tensor) -> Tensor:
        """The penalty of one weight tensor at λ = 1.

        ``weight`` has any shape and requires a gradient; the result is 0-dim and differentiable.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define value(weight)")

    def attach(self, subject: Subject) -> None:
        """Find the steps of the optimiser."""
        super().attach(subject)
        self._steps = WeightSteps(subject)

    def acts_on_weight(self, w: Penalised) -> bool:
        """Whether it changes this weight."""
        return w.factor > 0

    def measure_pull(self, w: Penalised, now: Now) -> Tensor:
        """How far a step moves each entry of a weight towards 0, if the loss does not resist.

        At λ as built, of the weight's shape, after a step of the optimiser. Of an entry with next
        to no gradient, which the optimiser would move without bound, it is that of an entry with a
        hundredth of the mean.
        """
        return self._differentiate(w.weight).abs() * self.lam * w.factor * self._bound(w, now)

    def _bound(self, w: Penalised, now: Now) -> Tensor:
        """The bounded step of each entry per unit of the penalty's gradient."""
        return self._steps.threshold(w.weight, torch.full_like(now.lr, torch.inf), now)

    def _differentiate(self, weight: Tensor) -> Tensor:
        leaf = weight.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.value(leaf), leaf)
        return gradient

    def acted(self, epoch: int) -> bool:
        """Whether λ was above 0 in an epoch up to then, and for a weight."""
        factor = self.subject.training.lambda_factor
        scheduled = any(factor(e) > 0 for e in range(1, epoch + 1))
        return self.lam > 0 and scheduled and any(map(self.acts_on_weight, self.subject.weights))

    def before_epoch(self, now: Now) -> None:
        """Apply the schedule of λ."""
        self._strength = now.lambda_factor * self.lam

    def before_step(self, now: Now) -> None:
        """Add the penalty's gradient to that of each weight which has one."""
        for w in self.subject.weights:
            if w.weight.grad is not None:
                gradient = self._differentiate(w.weight)
                w.weight.grad.add_(self._strength * w.factor * gradient)


class ElasticNet(Penalty):
    """λ·(l1_ratio·Σ|w| + (1 − l1_ratio)·Σw²).

    With ``training.l1_update: proximal`` both terms are applied by their proximal operator in the
    metric of the optimiser's step, with ``subgradient`` both are in the gradient: λ is the
    objective's. ``l2_update`` takes the second term out: to decay beside the step, or into the
    gradient.
    """

    has_l1 = True

    def __init__(self, lam: float, l1_ratio: float) -> None:
        super().__init__(lam)
        self._l1, self._l2 = lam * l1_ratio, lam * (1.0 - l1_ratio)

    def attach(self, subject: Subject) -> None:
        """Choose how to apply both terms."""
        super().attach(subject)
        training = subject.training
        proximal = training.l1_update == "proximal"
        together = self.has_l1 and training.l2_update is None
        self._proximal, self._subgradient = self.has_l1 and proximal, self.has_l1 and not proximal
        self._l2_inside = self._l2 if together and proximal else 0.0
        coupled = not proximal if together else training.couples_l2
        self._coupled = bool(self._l2) and coupled
        self._decoupled = bool(self._l2) and not coupled and not self._l2_inside
        self.reads_gradients = self._subgradient or self._coupled
        objective = is_sgd(subject.optimizer) and training.proximal_step == "adaptive"
        self.decay = self._l2 if self._decoupled and not objective else 0.0

    def describe_update(self) -> Hashable | None:
        """Which terms there are, how they are applied, and to what."""
        own = type(self)
        if (
            own.before_step is not ElasticNet.before_step
            or own.after_step is not ElasticNet.after_step
        ):
            return None
        flags = (self._proximal, self._subgradient, self._coupled, self._decoupled)
        weights = tuple((w.name, w.factor) for w in self.subject.weights)
        return own, flags, bool(self._l2_inside), weights, self._steps.describe()

    def join(self, others: Sequence[ElasticNet], subject: Subject) -> ElasticNet:
        """One with the strengths of each, ``(L, 1)``."""
        made = copy.copy(self)
        made.subject, made._steps = subject, RowSteps(subject)
        for name in ("_l1_now", "_l2_now", "_inside_now"):
            rows = torch.stack([getattr(one, name) for one in (self, *others)])
            setattr(made, name, rows.unsqueeze(1))
        return made

    def before_epoch(self, now: Now) -> None:
        """Move the strengths of both terms to the device of the weights."""
        strengths = [now.lambda_factor * s for s in (self._l1, self._l2, self._l2_inside)]
        made = torch.tensor(strengths, device=now.lr.device).unbind()
        self._l1_now, self._l2_now, self._inside_now = made

    def before_step(self, now: Now) -> None:
        """Add gradients, then decay the weights at which the gradient was computed."""
        weights = self.subject.weights
        if self._subgradient:
            penalty_steps.add_subgradient(weights, self._l1_now)
        if self._coupled:
            penalty_steps.add_coupled_gradient(weights, self._l2_now)
        if self._decoupled:
            for w in weights:
                step = self._steps.decay(w.weight, now)
                penalty_steps.apply_decoupled_decay(w, step, self._l2_now)

    def after_step(self, now: Now) -> None:
        """Apply the proximal operator, which gives exact zeros."""
        if self._proximal:
            l2 = self._inside_now if self._l2_inside else None
            for w in self.subject.weights:
                step = self._steps.threshold(w.weight, self._measure_strength(w), now)
                penalty_steps.apply_proximal_step(w, step, self._l1_now, l2)

    @torch.no_grad()
    def measure_pull(self, w: Penalised, now: Now) -> Tensor:
        """As of any penalty; of both terms, each by its update."""
        step = self._bound(w, now)
        other = self._steps.decay(w.weight, now) if self._decoupled else step
        pull: Tensor = self._l1 * step + 2 * self._l2 * other * w.weight.abs()
        return pull * w.factor

    @torch.no_grad()
    def _measure_strength(self, w: Penalised) -> Tensor:
        """The size of the gradient of the terms that the proximal operator applies."""
        l1 = self._l1_now * w.factor
        if not self._l2_inside:
            return l1
        return w.weight.abs().mul_(2 * self._inside_now * w.factor).add_(l1)


class L1(ElasticNet):
    """λ·Σ|w|."""

    def __init__(self, lam: float) -> None:
        super().__init__(lam, 1.0)


class L2(ElasticNet):
    """λ·Σw²; ``weight_decay`` of torch's optimisers is 2λ.

    ``training.l2_update`` says how it is applied, or else the optimiser does.
    """

    has_l1 = False

    def __init__(self, lam: float) -> None:
        super().__init__(lam, 0.0)


class GroupLasso(Penalty):
    """λ·Σ√n·‖unit‖ over units of n parameters, biases included; makes whole units 0."""

    reads_gradients = False

    def describe_update(self) -> Hashable | None:
        """The weights that it acts on, and how."""
        own, weights = type(self), self.subject.weights
        if own.after_step is not GroupLasso.after_step or not have_units_in_rows(weights):
            return None
        parts = tuple((w.name, w.factor, w.unit_axis, w.bias is None) for w in weights)
        return own, parts, self._steps.describe()

    def join(self, others: Sequence[GroupLasso], subject: Subject) -> GroupLasso:
        """One with the strength of each, ``(L, 1)``."""
        made = copy.copy(self)
        made.subject, made._steps = subject, RowSteps(subject)
        made._now = torch.stack([one._now for one in (self, *others)]).unsqueeze(1)
        return made

    def acts_on_weight(self, w: Penalised) -> bool:
        """Whether the weight has units that the penalty can make 0."""
        return super().acts_on_weight(w) and w.unit_axis is not None

    @torch.no_grad()
    def measure_pull(self, w: Penalised, now: Now) -> Tensor:
        """As of any penalty, for weights that have units."""
        gradient, _ = penalty_steps.measure_group_gradient(w, torch.full_like(now.lr, self.lam))
        return gradient * self._bound(w, now)

    def before_epoch(self, now: Now) -> None:
        """Move the strength to the device of the weights."""
        self._now = torch.tensor(now.lambda_factor * self.lam, device=now.lr.device)

    def before_step(self, now: Now) -> None:
        """Do nothing: the penalty is applied by its proximal operator."""

    def after_step(self, now: Now) -> None:
        """Shrink every unit towards 0."""
        for w in self.subject.weights:
            if self.acts_on_weight(w):
                weight, bias = penalty_steps.measure_group_gradient(w, self._now)
                step = self._steps.threshold(w.weight, weight, now)
                bias_step = step if w.bias is None else self._steps.threshold(w.bias, bias, now)
                penalty_steps.apply_group_step(w, step, bias_step, self._now)
