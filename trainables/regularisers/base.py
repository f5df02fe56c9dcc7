"""The base class of regularisers, whose hooks a training calls, and the arguments of hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config.data_info import DataInfo
from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.regularisers.weights import Penalised


@dataclass
class Now:
    """The current values of a training's schedules; the loop sets them every epoch.

    ``lr`` is the learning rate, 0-dim on the weights' device. ``lambda_factor`` is the factor of λ
    in this epoch. ``noise`` is the generator for gradient noise, equal in all processes of a group.
    ``step`` counts the optimiser's steps from 0 over the whole training.
    """

    lr: Tensor
    lambda_factor: float
    noise: torch.Generator
    step: int = 0


@dataclass(frozen=True)
class Subject:
    """What the regularisers of a training act on. ``weights`` are the penalised ones."""

    info: DataInfo
    model: nn.Module
    weights: Sequence[Penalised]
    optimizer: torch.optim.Optimizer
    training: Training


class Regulariser:
    """Changes a training so that it generalises better. By default every hook does nothing.

    Subclass it, override the hooks that you need, and name the class in a spec:
    ``regularisers: {mine: {name: "module:Class", option: 1.0}}``. Options are the arguments of the
    constructor; a space may search them as ``mine.option``.
    """

    subject: Subject

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Why it cannot work with these data and this network, and a remedy; None if it can."""
        return None

    def on_model(self, model: nn.Module) -> nn.Module:
        """Return the network to train; called once, before the optimiser is built."""
        return model

    def attach(self, subject: Subject) -> None:
        """Store the subject; called once, before the first step.

        Raises:
            ContractError: it does not support the optimiser or the network.
        """
        self.subject = subject

    def before_epoch(self, now: Now) -> None:
        """Called before the first step of an epoch."""

    def on_batch(self, batch: Batch) -> Batch:
        """Return the batch to train on, on the same device. Draw from torch's global generators."""
        return batch

    def before_step(self, now: Now) -> None:
        """Called after the backward pass, before the optimiser's step."""

    def after_step(self, now: Now) -> None:
        """Called after the optimiser's step."""

    def after_epoch(self, epoch: int) -> None:
        """Called after the last step of an epoch, counted from 1."""

    def evaluated(self) -> nn.Module | None:
        """The network to evaluate instead of the trained one; None for the trained one."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """The state for :meth:`load_state_dict`, in types that ``weights_only`` loads."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""


class Hooks:
    """The regularisers of one training; only overridden hooks are called."""

    def __init__(self, regularisers: Sequence[Regulariser]) -> None:
        self.all = tuple(regularisers)
        self.before_epoch: list[Callable[[Now], None]] = self._find_overridden("before_epoch")
        self._on_batch: list[Callable[[Batch], Batch]] = self._find_overridden("on_batch")
        self.before_step: list[Callable[[Now], None]] = self._find_overridden("before_step")
        self.after_step: list[Callable[[Now], None]] = self._find_overridden("after_step")
        self.after_epoch: list[Callable[[int], None]] = self._find_overridden("after_epoch")
        self._evaluated: list[Callable[[], nn.Module | None]] = self._find_overridden("evaluated")

    def attach(self, subject: Subject) -> None:
        """Attach every regulariser.

        Raises:
            ContractError: a regulariser does not support the optimiser or the network.
        """
        for regulariser in self.all:
            regulariser.attach(subject)

    def on_batch(self, x: Tensor, y: Tensor) -> Batch:
        """The regularised batch of inputs ``(B, …)`` and targets ``(B, …)``."""
        batch = Batch(x, y)
        for hook in self._on_batch:
            batch = hook(batch)
        return batch

    def evaluated(self, model: nn.Module) -> nn.Module:
        """The network to evaluate: the last one that a regulariser returns, else the model."""
        named = [network for hook in self._evaluated if (network := hook()) is not None]
        return named[-1] if named else model

    def state_dict(self) -> dict[str, Any]:
        """The states of the regularisers that have one, by position and class."""
        states = {key: r.state_dict() for key, r in self._list_by_key()}
        return {key: state for key, state in states.items() if state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of the same regularisers."""
        for key, regulariser in self._list_by_key():
            if key in state:
                regulariser.load_state_dict(state[key])

    def _list_by_key(self) -> list[tuple[str, Regulariser]]:
        return [(f"{n}-{type(r).__name__}", r) for n, r in enumerate(self.all)]

    def _find_overridden(self, name: str) -> list[Any]:
        base = getattr(Regulariser, name)
        return [getattr(r, name) for r in self.all if getattr(type(r), name) is not base]
