"""The base class of regularisers, whose hooks a training calls, and the arguments of hooks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from trainables.config.data_info import DataInfo
from trainables.config.training import Training
from trainables.data.batch import Batch
from trainables.data.image_layout import keep_layout
from trainables.data.nests import Nest
from trainables.errors import blame
from trainables.regularisers.effect_watch import BatchWatch, StepWatch
from trainables.regularisers.weights import Penalised


@dataclass
class Now:
    """Where a training is, for the hooks of its regularisers; the loop updates it.

    Attributes:
        lr: the learning rate of this step, 0-dim, on the weights' device; where the optimiser has
            several groups, the highest of them.
        lambda_factor: the factor of λ in this epoch (``training.lambda_schedule``).
        noise: a generator on the weights' device for noise on gradients, which every process of a
            group seeds alike.
        step: the number of the optimiser's step, from 0 over the whole training.
        rates: the learning rates of the optimiser's groups in this step, as ``lr``.
        gradient_scale: the factor, 0-dim, by which the gradients of this step were scaled. A hook
            that scales all of them (clipping) multiplies it, so that thresholds, which come after
            the step, are scaled as well and λ stays the objective's.
        of_each: where a hook acts for several trainings (:meth:`Regulariser.join`), theirs.
    """

    lr: Tensor
    lambda_factor: float
    noise: torch.Generator
    step: int = 0
    rates: Sequence[Tensor] = ()
    gradient_scale: Tensor = field(default_factory=lambda: torch.ones(()))
    of_each: Sequence[Now] = ()


@dataclass(frozen=True)
class Subject:
    """What a training's regularisers act on.

    Attributes:
        info: shapes, task and kind of the data.
        model: the network in training.
        weights: the parameters that penalties act on, each with its factor
            (``training.penalised``).
        optimizer: the optimiser of ``model``.
        training: the training's configuration, with the trial's parameters.
    """

    info: DataInfo
    model: nn.Module
    weights: Sequence[Penalised]
    optimizer: torch.optim.Optimizer
    training: Training


class Need(Enum):
    """What a regulariser can need, in words for the user."""

    FLOATS = "inputs of floats"
    IMAGES = "images of floats, (channels, height, width)"
    CLASSES = "classes as targets"
    ONE_TARGET = "one target for a whole sample"
    SMOOTHING = "a training step that reads `batch.smoothing`"
    MIXING = "a training step that reads `batch.other_y` and `batch.share`"


class Regulariser:
    """Changes a training so that it generalises better. By default every hook does nothing.

    Subclass it, override the hooks that you need, and name the class in a spec:
    ``regularisers: {mine: {name: "module:Class", option: 1.0}}``. Options are the arguments of the
    constructor; a space may vary them as ``mine.option``.

    One instance serves one training. Hooks are called in this order: ``misfit`` and ``on_model``
    before the optimiser is made, ``attach`` once it is; in every epoch ``before_epoch``, then for
    every step ``on_batch``, ``before_step`` and ``after_step``, then ``after_epoch``. Where
    several workers train one trial, each has an instance of its own and sees its part of a batch;
    weights must stay equal on all of them.

    Attributes:
        order: hooks of several regularisers run in ascending order. Built-in ones augment inputs
            (10 to 30) before they mix them (40), add penalties (10) before they bound norms (30),
            and average weights last (90).
        acts_on_weights: whether it changes the penalised weights; it is refused where they are
            only parts of what the network computes with.
        needs: what the data and the trainable must have; it is refused where they do not.
        decay: λ of ``λ·w²`` that shrinks weights beside the loss and is no part of an objective.
        acts_on: the parts of nested inputs that it acts on, by name (``image``, ``0``).
        reads_gradients: whether, joined (:meth:`join`), it reads or changes the gradients of the
            joint ``subject``.
        recomputes_norms: whether the statistics of batch norms in the network that ``evaluated``
            names are computed anew, from training batches, each time before it is measured.
        acts_each_step: whether it changes weights or gradients in every step, as a penalty does; it
            is then watched whether it ever changed one.
        subject: what the training's regularisers act on; set by :meth:`attach`.
    """

    order: ClassVar[int] = 50
    acts_on_weights: ClassVar[bool] = False
    acts_each_step: ClassVar[bool] = False
    decay: float = 0.0
    needs: frozenset[Need] = frozenset()
    acts_on: tuple[str, ...] = ()
    reads_gradients: bool = True
    recomputes_norms: bool = False
    subject: Subject

    def misfit(self, info: DataInfo, model: nn.Module) -> str | None:
        """Why it cannot work with these data and this network, for the user; None if it can.

        Where it acts on parts of nested inputs, it is asked for each of them, as ``info``.
        """
        return None

    def on_model(self, model: nn.Module) -> nn.Module:
        """The network to train: the given one, changed in place or wrapped.

        Called once, on the training's device, before the optimiser is made.
        """
        return model

    def attach(self, subject: Subject) -> None:
        """Remember what to act on; called once, before the first step. Overrides call it.

        Raises:
            ContractError: it does not support the optimiser or the network.
        """
        self.subject = subject

    def learning_rate(self, epoch: int, lr: float) -> float:
        """The learning rate in an epoch, counted from 1, where the schedule says ``lr``.

        Asked before every step. Groups of the optimiser with other rates get the same factor.
        """
        return lr

    def before_epoch(self, now: Now) -> None:
        """Called before the first step of an epoch."""

    def on_batch(self, batch: Batch) -> Batch:
        """The batch to train on, a new one: the given tensors may be views of the data.

        Inputs are on the training's device. Draw from torch's global generators, which the loop
        seeds in every epoch, so that a training can be repeated and resumed.
        """
        return batch

    def before_step(self, now: Now) -> None:
        """Called between the backward pass, whose gradients are in ``.grad``, and the step."""

    def after_step(self, now: Now) -> None:
        """Called after the optimiser's step."""

    def describe_update(self) -> Hashable | None:
        """What trainings have in common whose updates :meth:`join` makes at once; None if none.

        Of equal descriptions, the hooks of a step must do the same, but for strengths. What they
        change other than weights and gradients is in :meth:`state_dict`.
        """
        return None

    def join(self, others: Sequence[Any], subject: Subject) -> Regulariser:
        """This regulariser and ``others``, of equal descriptions, in one, for steps of an epoch.

        The weights of ``subject``, their gradients and what its optimiser keeps of them are rows
        ``(L, n)``, one for each training; so are the learning rates ``(L, 1)`` of a step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define join(others, subject)")

    def after_epoch(self, epoch: int) -> None:
        """Called after the last step of an epoch, counted from 1."""

    def evaluated(self) -> nn.Module | None:
        """The network to measure and to keep in place of the trained one; None for that one.

        Asked after every epoch; the last regulariser that names one wins.
        """
        return None

    def count_more_epochs(self, epoch: int) -> int:
        """How many epochs it needs after this one, where early stopping would end the training.

        The training ends after them, or after ``max_epochs``; early stopping still decides which
        epoch's weights are kept.
        """
        return 0

    def end_after(self, epochs: int) -> None:
        """Plan for a training of so many epochs instead of ``max_epochs``, before its first one."""

    def acted(self, epoch: int) -> bool:
        """Whether it had any effect on the weights after ``epoch``, which are those that are kept.

        Asked once, after the last epoch, and reported where it had none. What only changes batches
        is watched: it need not say so itself.
        """
        return True

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` needs, in types that ``torch.load`` reads without pickle."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`, in a new instance."""


_ACTING = ("on_model", "before_step", "after_step", "evaluated", "learning_rate")
"""Hooks by which a regulariser acts otherwise than on batches."""


class Hooks:
    """The regularisers of one training; only overridden hooks are called.

    ``parts`` are the names of what they are parts of, one for each.
    """

    def __init__(self, regularisers: Sequence[Regulariser], parts: Sequence[str] = ()) -> None:
        self.all, self._parts = tuple(regularisers), tuple(parts)
        self.before_epoch: list[Callable[[Now], None]] = self._find_overridden("before_epoch")
        self._on_batch = {k: BatchWatch(r.on_batch) for k, r in self._list_overriding("on_batch")}
        self._on_steps = {
            key: StepWatch(lambda r=r: r.subject.model.parameters())  # type: ignore[misc]  # mypy cannot infer a default's type
            for key, r in self._list_by_key()
            if r.acts_each_step
        }
        self.before_step: list[Callable[[Now], None]] = self._watch_steps("before_step")
        self.after_step: list[Callable[[Now], None]] = self._watch_steps("after_step")
        self.after_epoch: list[Callable[[int], None]] = self._find_overridden("after_epoch")
        self._rates: list[Callable[[int, float], float]] = self._find_overridden("learning_rate")

    def attach(self, subject: Subject) -> None:
        """Attach every regulariser.

        Raises:
            ContractError: a regulariser does not support the optimiser or the network.
        """
        for regulariser in self.all:
            with blame("", type(regulariser).__name__):
                regulariser.attach(subject)

    @property
    def changes_batches(self) -> bool:
        """Whether :meth:`on_batch` calls a hook."""
        return bool(self._on_batch)

    def on_batch(self, x: Nest, y: Nest) -> Batch:
        """The regularised batch of inputs and targets, nests of tensors ``(B, …)``."""
        batch = Batch(x, y)
        for hook in self._on_batch.values():
            batch = hook(batch)
        return replace(batch, x=keep_layout(x, batch.x)) if self._on_batch else batch

    def scale_rate(self, epoch: int, scale: float, lr: float) -> float:
        """The factor of ``lr`` in an epoch where the schedule's factor is ``scale``."""
        if not self._rates:
            return scale
        rate = scale * lr
        for hook in self._rates:
            rate = hook(epoch, rate)
        return rate / lr

    @property
    def setting_rates(self) -> tuple[Regulariser, ...]:
        """Those that set the learning rate."""
        return tuple(r for r in self.all if sets_rate(r))

    def evaluated(self, model: nn.Module) -> nn.Module:
        """The network to evaluate: the last one that a regulariser returns, else the model."""
        named = self._name_evaluated()
        return model if named is None else named[1]

    @property
    def recomputes_norms(self) -> bool:
        """Whether the network to evaluate needs new statistics of its batch norms."""
        named = self._name_evaluated()
        return named is not None and named[0].recomputes_norms

    def count_more_epochs(self, epoch: int) -> int:
        """How many epochs follow this one, where early stopping would end the training."""
        return max((r.count_more_epochs(epoch) for r in self.all), default=0)

    def end_after(self, epochs: int) -> None:
        """Tell every regulariser that the training has so many epochs."""
        for regulariser in self.all:
            regulariser.end_after(epochs)

    def _name_evaluated(self) -> tuple[Regulariser, nn.Module] | None:
        named = [(r, network) for r in self.all if (network := r.evaluated()) is not None]
        return named[-1] if named else None

    def state_dict(self) -> dict[str, Any]:
        """The states of the regularisers that have one, by position and class."""
        states = {key: r.state_dict() for key, r in self._list_by_key()}
        changed = [key for key, watch in self._watches.items() if watch.changed]
        return {_CHANGED: changed, **{key: state for key, state in states.items() if state}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of the same regularisers."""
        for key, regulariser in self._list_by_key():
            if key in state:
                regulariser.load_state_dict(state[key])
        for key, watch in self._watches.items():
            watch.changed = key in state.get(_CHANGED, ())

    def list_idle(self, epoch: int) -> tuple[str, ...]:
        """The parts without any effect on the weights after ``epoch``, in this process."""
        found = zip(self._parts, self._list_by_key(), strict=True)
        return tuple(part for part, keyed in found if not self._has_acted(*keyed, epoch))

    def _has_acted(self, key: str, regulariser: Regulariser, epoch: int) -> bool:
        watch = self._watches.get(key)
        if watch is not None and not watch.changed:
            others = () if key in self._on_steps else _ACTING
            if not any(_overrides(regulariser, hook) for hook in others):
                return False
        return regulariser.acted(epoch)

    @property
    def _watches(self) -> Mapping[str, BatchWatch | StepWatch]:
        return {**self._on_batch, **self._on_steps}

    def _watch_steps(self, name: str) -> list[Callable[[Now], None]]:
        found = ((self._on_steps.get(k), getattr(r, name)) for k, r in self._list_overriding(name))
        return [hook if watch is None else watch.wrap(hook) for watch, hook in found]

    def _list_by_key(self) -> list[tuple[str, Regulariser]]:
        return [(f"{n}-{type(r).__name__}", r) for n, r in enumerate(self.all)]

    def _find_overridden(self, name: str) -> list[Any]:
        return [getattr(r, name) for _, r in self._list_overriding(name)]

    def _list_overriding(self, name: str) -> list[tuple[str, Regulariser]]:
        return [(key, r) for key, r in self._list_by_key() if _overrides(r, name)]


_CHANGED = "changed"
"""The key of those that were seen to change something, in a state."""


def sets_rate(regulariser: Regulariser) -> bool:
    """Whether a regulariser sets the learning rate."""
    return _overrides(regulariser, "learning_rate")


def _overrides(regulariser: Regulariser, hook: str) -> bool:
    return getattr(type(regulariser), hook) is not getattr(Regulariser, hook)
