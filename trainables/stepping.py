"""One step of the optimiser: forward and backward passes, the hooks of regularisers, scaling.

The gradients of several batches may be added up, with the weights of their samples, so that a step
is that of one batch of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from trainables.compat import has_overflow
from trainables.config.training import Training
from trainables.contract import Trainable
from trainables.data.batch import Batch
from trainables.data.samples import Fed
from trainables.devices import autocast
from trainables.distributed.process import Process
from trainables.rates import Rates
from trainables.regularisers.base import Hooks, Now
from trainables.regularisers.weights import Penalised
from trainables.return_checks import check_step

T = TypeVar("T")
Marked = Iterator[tuple[Fed, bool]]
"""Batches, each with whether it is the last one of a step."""


@dataclass(kw_only=True)
class Stepper:
    """Takes the steps of one training. ``network`` is the one to call, ``model`` the user's."""

    trainable: Trainable
    training: Training
    model: nn.Module
    network: nn.Module
    penalised: list[Penalised]
    optimizer: torch.optim.Optimizer
    hooks: Hooks
    process: Process
    rates: Rates
    device: str
    scaler: torch.amp.GradScaler = field(init=False)
    _expected: int = field(init=False, default=0)
    _count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        kind = torch.device(self.device).type
        self.scaler = torch.amp.GradScaler(kind, enabled=self.training.precision == "fp16")
        self._shares = _share_groups(self.optimizer, self.penalised)
        self._unscaled = torch.ones((), device=self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """The autocast context of the forward pass."""
        return autocast(self.training.precision, self.device)

    def add(self, fed: Fed, *, last: bool) -> Tensor:
        """Add the gradients of this process's part of a batch; returns its mean loss, weighted.

        ``last`` says whether it is the last batch of the step.
        """
        batch, share = self.begin(fed, last=last)
        return self.differentiate(batch, share, weight=fed.share.weight, last=last)

    def differentiate(
        self, batch: Batch, share: float | None, *, weight: float = 1.0, last: bool
    ) -> Tensor:
        """Add the gradients of a batch that :meth:`begin` returned. See :meth:`add`."""
        network = self.network
        with nullcontext() if last else self.process.keep_gradients(network):
            with self.autocast():
                made = self.trainable.step(network, batch)
            loss = check_step(made, f"{type(self.trainable).__name__}.step") * weight
            part = loss if share is None else loss * share
            self.scaler.scale(part).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss.detach()

    def begin(self, fed: Fed, *, last: bool) -> tuple[Batch, float | None]:
        """Count a batch in; returns it regularised, and its share of the step, None for all.

        Its gradients have to be added next.
        """
        if not self._count:
            self.clear()
        self.process.begin_step(fed.share)
        share = self.count(fed.count, last=last)
        return self.hooks.on_batch(fed.x, fed.y), share

    def clear(self) -> None:
        """What ``zero_grad`` does; torch's own takes longer than to set gradients to None."""
        if self.clears_otherwise:
            self.optimizer.zero_grad()
            return
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def count(self, samples: int, *, last: bool) -> float | None:
        """Count a batch in; returns its share of the step, None for all."""
        if not self._count:
            self._expected = self.training.accumulate * samples
        self._count += samples
        is_single = self._expected == self._count == samples
        return None if last and is_single else samples / self._expected

    @property
    def clears_otherwise(self) -> bool:
        """Whether the optimiser clears gradients by code of its own."""
        return type(self.optimizer).zero_grad is not torch.optim.Optimizer.zero_grad

    def forget(self) -> None:
        """Begin the next step anew, whatever was added to it."""
        self._count = 0

    def step(self, now: Now) -> bool:
        """Step by the gradients that were added; returns False if they are not finite.

        That is only so with ``fp16``, whose scale is then too large: nothing of the step is done.
        """
        if not self.open(now):
            return False
        for hook in self.hooks.before_step:
            hook(now)
        self.clip(now)
        self.optimizer.step()
        self.note(now)
        for hook in self.hooks.after_step:
            hook(now)
        self.close(now)
        return True

    def open(self, now: Now) -> bool:
        """Begin a step; returns False if it is not to be taken. See :meth:`step`."""
        factor, self._count = self._expected / self._count, 0
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimizer)
            overflows = has_overflow(self.scaler, self.optimizer)
            self.scaler.update()
            if overflows:
                return False
        if factor != 1.0:
            self._scale_gradients(factor)
        now.gradient_scale = self._unscaled
        return True

    def clip(self, now: Now) -> None:
        """Bound the gradients' norm, after all hooks before the step."""
        if self.training.clip_norm is not None:
            now.gradient_scale = now.gradient_scale * self._clip(self.training.clip_norm)

    def note(self, now: Now) -> None:
        """Note the rates with which the optimiser made the step."""
        now.lr, now.rates = self.rates.lr, self.rates.each

    def close(self, now: Now) -> None:
        """End a step, after all hooks."""
        self.rates.after_step(now.lambda_factor, self._shares)

    @torch.no_grad()
    def _scale_gradients(self, factor: float) -> None:
        """Make a sum over fewer samples than expected the mean over them."""
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)

    def _clip(self, limit: float) -> Tensor:
        """Scale all gradients so that their norm is at most the limit; returns the factor."""
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        return (limit / (norm + 1e-6)).clamp(max=1.0)


def mark_last(batches: Iterator[T], size: int) -> Iterator[tuple[T, bool]]:
    """Batches, each with whether it ends a group of ``size``; the last group may be smaller."""
    if size == 1:
        yield from ((fed, True) for fed in batches)
        return
    coming = next(batches, None)
    number = 0
    while coming is not None:
        fed, coming = coming, next(batches, None)
        number += 1
        yield fed, coming is None or number % size == 0


def _share_groups(optimizer: torch.optim.Optimizer, penalised: list[Penalised]) -> dict[int, float]:
    """The share of penalised weights in each of the optimiser's groups, by its position."""
    ids = {id(w.weight) for w in penalised}
    sizes = [
        sum(p.numel() for p in group["params"] if id(p) in ids) for group in optimizer.param_groups
    ]
    total = sum(sizes)
    if not total:
        return {0: 1.0}
    return {number: size / total for number, size in enumerate(sizes) if size}
